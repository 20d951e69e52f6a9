-- Promises: what the provider said of the credentials is on record, if they are still the ones it was asked about; else
-- nothing, for the job of newer ones will tell. Answers whether it is. Called by the handler that checks them.
-- Locks: credentials.
CREATE OR REPLACE FUNCTION record_credentials_check(
  p_actor jsonb,
  p_credentials_id uuid,
  p_version integer,
  p_status text,
  p_detail text,
  p_now timestamptz DEFAULT now()
)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE provider_credentials c
  SET status = p_status, checked_at = p_now, check_detail = NULLIF(p_detail, ''), updated_at = p_now
  WHERE c.id = p_credentials_id AND c.version = p_version;
  RETURN FOUND;
END
$$
