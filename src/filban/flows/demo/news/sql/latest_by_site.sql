-- $1 site. Its twenty newest articles: the front page of a site.
SELECT id, title, published_date
FROM articles
WHERE site_domain = $1
ORDER BY published_date DESC
LIMIT 20
