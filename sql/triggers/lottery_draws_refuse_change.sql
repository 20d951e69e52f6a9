-- Whoever recomputes a draw must find the seed it was made with.
CREATE OR REPLACE TRIGGER lottery_draws_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON lottery_draws
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
