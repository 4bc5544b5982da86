-- $1 article. One article with the names of its tags: what a reader opens.
SELECT a.id, a.site_domain, a.title, a.content, a.published_date, a.metadata,
  array_agg(t.name ORDER BY t.name) AS tags
FROM articles a
JOIN article_tags x ON x.article_id = a.id
JOIN tags t ON t.id = x.tag_id
WHERE a.id = $1
GROUP BY a.id
