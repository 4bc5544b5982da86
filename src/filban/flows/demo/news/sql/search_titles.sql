-- $1 word. The twenty newest articles with a word in their title: search, as it is first written.
SELECT id, title, site_domain, published_date
FROM articles
WHERE title ILIKE '%' || $1 || '%'
ORDER BY published_date DESC
LIMIT 20
