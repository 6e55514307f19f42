-- Tables that every service has in a schema of its own name (ADR 0003).
CREATE TABLE events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    stream text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    type text NOT NULL,
    case_key text NOT NULL,
    partition smallint NOT NULL,
    recordedtime timestamptz NOT NULL,
    digest text,
    record text NOT NULL,
    hash bytea NOT NULL,
    UNIQUE (stream, version)
);
CREATE TABLE streams (
    stream text PRIMARY KEY,
    version integer NOT NULL,
    hash bytea NOT NULL,
    recordedtime timestamptz NOT NULL,
    case_key text NOT NULL,
    state jsonb NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE outbox (
    position bigint PRIMARY KEY,
    partition smallint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000);
CREATE TABLE checkpoints (
    subscription text NOT NULL,
    partition smallint NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (subscription, partition)
) WITH (fillfactor = 50);
CREATE TABLE cases (
    key text PRIMARY KEY,
    versions jsonb NOT NULL,
    source_sequence integer NOT NULL DEFAULT 0,
    organisation text,
    requester text,
    team text,
    assignee text,
    origin text
) WITH (fillfactor = 70);
CREATE TABLE members (
    agent text PRIMARY KEY,
    team text NOT NULL
);
CREATE TABLE sources (
    source text PRIMARY KEY,
    types jsonb NOT NULL,
    organisation text,
    mode text NOT NULL,
    publisher text NOT NULL
);
CREATE TABLE inbox (
    position bigint GENERATED ALWAYS AS IDENTITY,
    id uuid NOT NULL,
    source text NOT NULL,
    source_event text NOT NULL,
    subject text NOT NULL,
    publisher text NOT NULL,
    sequence integer,
    type text NOT NULL,
    stream text NOT NULL,
    case_key text NOT NULL,
    time timestamptz NOT NULL,
    data text NOT NULL,
    digest text NOT NULL,
    traceparent text,
    actor text,
    refusal text,
    clock double precision NOT NULL,
    seen integer NOT NULL DEFAULT 0,
    PRIMARY KEY (id, publisher)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000);
CREATE INDEX inbox_by_case ON inbox (case_key, sequence);
CREATE TABLE ingress_clock (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    active_seconds double precision NOT NULL DEFAULT 0,
    swept_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO ingress_clock DEFAULT VALUES;
CREATE TABLE deviations (
    source text NOT NULL,
    rule text NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (source, rule)
);
CREATE TABLE quarantine (
    id uuid PRIMARY KEY,
    reason text NOT NULL,
    detail text NOT NULL,
    channel text NOT NULL,
    source text,
    source_event text,
    case_key text,
    sequence integer,
    type text,
    digest text,
    body bytea NOT NULL,
    key_id text NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX quarantine_by_case ON quarantine (case_key)
    WHERE reason IN ('predecessor-missing', 'discarded');
CREATE INDEX quarantine_by_source ON quarantine (source);
CREATE TABLE parked (
    subscription text NOT NULL,
    key text NOT NULL,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    partition smallint NOT NULL,
    "offset" bigint NOT NULL,
    record text NOT NULL,
    hash bytea NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL,
    parked_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'parked',
    PRIMARY KEY (subscription, key, sequence)
);
CREATE TABLE timers (
    id uuid PRIMARY KEY,
    stream text NOT NULL,
    case_key text NOT NULL,
    kind text NOT NULL,
    partition smallint NOT NULL,
    due_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    fired_at timestamptz,
    causationid uuid,
    traceparent text
);
CREATE INDEX timers_pending ON timers (due_at) WHERE status = 'pending';
CREATE INDEX timers_failed ON timers (id) WHERE status = 'failed';
CREATE INDEX timers_by_stream ON timers (stream) WHERE status = 'pending';
CREATE TABLE idempotency (
    principal text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint,
    headers jsonb,
    body bytea,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (principal, route, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);
CREATE TABLE data_keys (
    key_id text PRIMARY KEY,
    case_key text NOT NULL UNIQUE,
    wrapped bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE projections (
    name text PRIMARY KEY,
    version integer NOT NULL,
    generation integer NOT NULL
);
CREATE TABLE rebuilds (
    name text PRIMARY KEY,
    version integer NOT NULL,
    generation integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now()
);
CREATE SEQUENCE numbers;
