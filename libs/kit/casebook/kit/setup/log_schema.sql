-- The log of the embedded mode: one row a record, offsets without gaps in commit order.
-- `position` is the place of the event in its owner's table, so that verify finds a change there.
CREATE TABLE partitions (
    partition smallint PRIMARY KEY,
    next_offset bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO partitions (partition) SELECT generate_series(0, 11);
CREATE TABLE records (
    partition smallint NOT NULL,
    "offset" bigint NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    record text NOT NULL,
    hash bytea NOT NULL,
    position bigint,
    PRIMARY KEY (partition, "offset")
);
