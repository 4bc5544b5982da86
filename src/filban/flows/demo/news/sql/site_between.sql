-- $1 site, $2 from, $3 until. What a site published in a span of time: the archive's page of a day.
SELECT id, title, published_date, metadata ->> 'section' AS section
FROM articles
WHERE site_domain = $1 AND published_date >= $2 AND published_date < $3
ORDER BY published_date
