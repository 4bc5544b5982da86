-- Keys after loading. Primary and foreign keys only, as a young service has them: the secondary
-- indexes that its statements want are left for filban to find.
ALTER TABLE public.sites ADD PRIMARY KEY (domain);
ALTER TABLE public.tags ADD PRIMARY KEY (id), ADD UNIQUE (name);
ALTER TABLE public.articles ADD PRIMARY KEY (id);
ALTER TABLE public.article_tags ADD PRIMARY KEY (article_id, tag_id);
ALTER TABLE public.articles ADD FOREIGN KEY (site_domain) REFERENCES public.sites;
ALTER TABLE public.article_tags
  ADD FOREIGN KEY (article_id) REFERENCES public.articles ON DELETE CASCADE,
  ADD FOREIGN KEY (tag_id) REFERENCES public.tags;
SELECT setval(pg_get_serial_sequence('public.tags', 'id'), max(id)) FROM public.tags;
SELECT setval(pg_get_serial_sequence('public.articles', 'id'), max(id)) FROM public.articles
