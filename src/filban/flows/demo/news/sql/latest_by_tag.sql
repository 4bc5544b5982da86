-- $1 tag. The twenty newest articles with a tag.
SELECT a.id, a.title, a.site_domain, a.published_date
FROM article_tags x
JOIN articles a ON a.id = x.article_id
WHERE x.tag_id = $1
ORDER BY a.published_date DESC
LIMIT 20
