-- The last look at every place where money is: what the books said, what was there, and what that showed. A difference is
-- a finding only at the second look in a row, and the place looked at longest ago comes next.

CREATE TABLE total_looks (
    kind        text COLLATE "C" NOT NULL,
    subject_id  text COLLATE "C" NOT NULL,
    -- UNKNOWN: something was under way that may explain a difference.
    verdict     text NOT NULL CHECK (verdict IN ('AGREES', 'DIFFERS', 'UNKNOWN')),
    books       bigint NOT NULL,
    outside     bigint NOT NULL,
    -- A difference that a second look has to confirm.
    is_first    boolean NOT NULL,
    looked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, subject_id)
) WITH (fillfactor = 70);
CREATE INDEX quarantined_by_address ON quarantined_records (split_part(record_id, ':', 2)) WHERE source = 'deposits';
