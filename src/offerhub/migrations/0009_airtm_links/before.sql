SELECT marketplace_id, airtm_user_id, count(*) AS users
FROM users WHERE airtm_user_id IS NOT NULL GROUP BY marketplace_id, airtm_user_id HAVING count(*) > 1
