-- $1 site, $2 title, $3 content, $4 tags. A new article with its tags, in one statement.
WITH new AS (
  INSERT INTO articles (site_domain, title, content) VALUES ($1, $2, $3) RETURNING id
)
INSERT INTO article_tags (article_id, tag_id)
SELECT new.id, tag FROM new, unnest($4::integer[]) AS tag
