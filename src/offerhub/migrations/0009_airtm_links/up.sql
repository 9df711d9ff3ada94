-- One Airtm account belongs to one user of a marketplace.
CREATE UNIQUE INDEX one_user_per_airtm_account ON users (marketplace_id, airtm_user_id);
