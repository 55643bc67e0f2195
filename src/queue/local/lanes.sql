
-- What is pending from one sender to one host. A row lives as long as there is a pending delivery, and
-- the triggers below keep it. All rows of a host say the same about it.
CREATE TABLE lanes (
    host            TEXT    NOT NULL,
    sender          TEXT    NOT NULL,
    first_due       INTEGER NOT NULL,             -- of the first pending delivery
    failures        INTEGER NOT NULL DEFAULT 0,   -- POSTs to the host that failed since one succeeded
    parked_until    INTEGER NOT NULL DEFAULT 0,   -- the host gets nothing before
    ailing          INTEGER NOT NULL GENERATED ALWAYS AS (failures > 0) VIRTUAL,
    ready_at        INTEGER NOT NULL GENERATED ALWAYS AS (max(first_due, parked_until)) VIRTUAL,
    PRIMARY KEY (host, sender)
) STRICT, WITHOUT ROWID;
CREATE INDEX lanes_by_sender ON lanes (sender, ailing, ready_at);
CREATE INDEX lanes_by_time ON lanes (ready_at);

CREATE TRIGGER delivery_added AFTER INSERT ON deliveries WHEN new.state = 'pending' AND new.due_at IS NOT NULL
BEGIN
    INSERT INTO lanes (host, sender, first_due, failures, parked_until)
        SELECT new.host, new.sender, new.due_at,
               coalesce((SELECT failures FROM lanes WHERE host = new.host LIMIT 1), 0),
               coalesce((SELECT parked_until FROM lanes WHERE host = new.host LIMIT 1), 0)
        WHERE true
    ON CONFLICT (host, sender) DO UPDATE SET first_due = min(first_due, excluded.first_due);
END;

CREATE TRIGGER delivery_moved AFTER UPDATE OF state, due_at, host, sender ON deliveries BEGIN
    INSERT INTO lanes (host, sender, first_due, failures, parked_until)
        SELECT new.host, new.sender, new.due_at,
               coalesce((SELECT failures FROM lanes WHERE host = new.host LIMIT 1), 0),
               coalesce((SELECT parked_until FROM lanes WHERE host = new.host LIMIT 1), 0)
        WHERE new.state = 'pending' AND new.due_at IS NOT NULL
    ON CONFLICT (host, sender) DO NOTHING;
    DELETE FROM lanes WHERE host = old.host AND sender = old.sender
        AND NOT EXISTS (SELECT 1 FROM deliveries WHERE state = 'pending' AND due_at IS NOT NULL
                            AND host = old.host AND sender = old.sender);
    UPDATE lanes SET first_due = (SELECT min(due_at) FROM deliveries WHERE state = 'pending'
                                      AND host = old.host AND sender = old.sender)
        WHERE host = old.host AND sender = old.sender;
END;

CREATE TRIGGER delivery_deleted AFTER DELETE ON deliveries WHEN old.state = 'pending' BEGIN
    DELETE FROM lanes WHERE host = old.host AND sender = old.sender
        AND NOT EXISTS (SELECT 1 FROM deliveries WHERE state = 'pending' AND due_at IS NOT NULL
                            AND host = old.host AND sender = old.sender);
    UPDATE lanes SET first_due = (SELECT min(due_at) FROM deliveries WHERE state = 'pending'
                                      AND host = old.host AND sender = old.sender)
        WHERE host = old.host AND sender = old.sender;
END;
