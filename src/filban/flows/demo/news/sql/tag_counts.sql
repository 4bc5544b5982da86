-- $1 since when. The twenty most used tags: the cloud on the front page.
SELECT t.name, count(*) AS articles
FROM articles a
JOIN article_tags x ON x.article_id = a.id
JOIN tags t ON t.id = x.tag_id
WHERE a.published_date >= $1
GROUP BY t.name
ORDER BY articles DESC, t.name
LIMIT 20
