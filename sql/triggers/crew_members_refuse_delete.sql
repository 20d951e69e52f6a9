-- Who leaves has a time of leaving, and never vanishes.
CREATE OR REPLACE TRIGGER crew_members_refuse_delete
BEFORE DELETE OR TRUNCATE ON crew_members
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
