-- Events alone: nobody is told of anything else. Which of them have a template the function knows: a list of them here, as any
-- text in a condition, would be read anew with every row.
CREATE OR REPLACE TRIGGER audit_log_make_messages
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (NEW.xid IS NOT NULL)
EXECUTE FUNCTION audit_log_make_messages()
