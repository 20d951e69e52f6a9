-- Promises: what a delivery sends, where to, and the secrets that sign it as they are stored, the newest five; no row where
-- nothing is to be sent: it is delivered, or the endpoint is disabled and this is no test. Called by the handler.
CREATE OR REPLACE FUNCTION delivery_request(p_delivery_id uuid, p_now timestamptz DEFAULT now())
RETURNS TABLE (url text, event_id text, body json, key_ids text[], nonces bytea[], ciphertexts bytea[])
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT e.url, 'evt_' || a.id, event_json(a, c.ref), s.key_ids, s.nonces, s.ciphertexts
  FROM deliveries d
  JOIN webhook_endpoints e ON e.id = d.endpoint_id
  JOIN audit_log a ON a.id = d.audit_id
  LEFT JOIN customers c ON c.id = (a.new_values ->> 'customer_id')::uuid
  CROSS JOIN LATERAL (
    SELECT array_agg(n.key_id) AS key_ids, array_agg(n.nonce) AS nonces, array_agg(n.ciphertext) AS ciphertexts
    FROM (
      SELECT w.key_id, w.nonce, w.ciphertext
      FROM webhook_secrets w
      WHERE w.endpoint_id = d.endpoint_id AND (w.expires_at IS NULL OR w.expires_at > p_now)
      ORDER BY w.created_at DESC, w.id
      LIMIT 5
    ) n
  ) s
  WHERE d.id = p_delivery_id AND d.status <> 'delivered' AND (e.is_enabled OR d.event_type = 'webhook_endpoint.tested')
$$
