"""Triggers that leave `audit_event` a table to which rows are only added.

Three things may be done to a row that is there: it is sealed once (its number, the hash before and its own), and who
did it, and what it was done to, may each be erased as a whole by a transaction that says so
(`SET LOCAL devflow.audit_erasure = 'on'`). The digests of what was erased stay.
"""

from django.db import migrations

STUB = ("id", "team_id", "at", "action", "outcome", "user_id", "token_id", "project_id", "target_id", "session")
WHO = ("who", "token", "address", "user_agent", "who_salt")
WHAT = ("target", "before", "after", "what_salt")
SEAL = ("seq", "previous", "hash")


def same(*columns: str) -> str:
    old, new = (", ".join(f'{row}."{column}"' for column in columns) for row in ("OLD", "NEW"))
    return f"ROW({old}) IS NOT DISTINCT FROM ROW({new})"


FORWARDS = f"""
CREATE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_event is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION audit_event_check_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {same(*STUB, "who_digest", "what_digest")} THEN
        IF OLD.seq IS NULL AND NEW.seq IS NOT NULL AND {same(*WHO, *WHAT)} THEN
            RETURN NEW;
        END IF;
        IF current_setting('devflow.audit_erasure', true) = 'on' AND {same(*SEAL)}
            AND ({same(*WHO)} OR (NEW.who = '' AND NEW.token = '' AND NEW.address = '' AND NEW.user_agent = ''
                AND NEW.who_salt = ''))
            AND ({same(*WHAT)} OR (NEW.target = '' AND NEW.before IS NULL AND NEW.after IS NULL
                AND NEW.what_salt = '')) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit_event is append-only: UPDATE is refused' USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_event_no_update BEFORE UPDATE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_event_check_update();
CREATE TRIGGER audit_event_no_delete BEFORE DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_event_refuse();
CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_event_refuse();
"""
BACKWARDS = """
DROP TRIGGER audit_event_no_truncate ON audit_event;
DROP TRIGGER audit_event_no_delete ON audit_event;
DROP TRIGGER audit_event_no_update ON audit_event;
DROP FUNCTION audit_event_check_update;
DROP FUNCTION audit_event_refuse;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
