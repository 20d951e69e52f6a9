-- Promises: an offer from a waitlist ends as its booking does, and a place that comes free goes to the next in line, in
-- the transaction that frees it: no newcomer gets in between. Called by triggers bookings_offer_places and
-- slots_offer_places, whoever writes. Locks: slot (mostly held already), entries, then the new booking.
CREATE OR REPLACE FUNCTION bookings_offer_places()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF NEW.status <> OLD.status THEN
    UPDATE waitlist_entries w
    SET status = CASE NEW.status WHEN 'confirmed' THEN 'accepted' WHEN 'cancelled' THEN 'cancelled' ELSE 'expired' END,
        updated_at = NEW.updated_at
    WHERE w.booking_id = NEW.id AND w.status IN ('offered', 'expired');
  END IF;
  PERFORM offer_places(OLD.slot_id, NEW.updated_at);
  RETURN NULL;
END
$$
