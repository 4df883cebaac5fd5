-- A checksum of each row of the state, so that one that was altered behind our back is noticed. The program fills it in
-- for the rows that are there.
ALTER TABLE current ADD COLUMN sum BLOB NOT NULL DEFAULT x'';
