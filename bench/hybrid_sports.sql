-- Sports by `hybrid`. The items have no titles: content is hashed words of what there is. bench/run.sh gives the shell the
-- folder of the data.
.timer on
COPY items FROM 'sports/items.jsonl.gz';
COPY interactions FROM 'sports/sequences.tsv.gz' WITH (layout = 'sequences');
ENRICH items BY text USING hash WITH (parts = ['text_id', 'brand', 'categories', 'keywords']);
CREATE CODEBOOK full USING rq_kmeans ON text;
REBUILD CODEBOOK full;
CREATE POLICY hybrid USING hybrid ON CODEBOOK full;
TRAIN POLICY hybrid WITH (epochs = 4, batch = 128, validation_users = 2000, seed = 1);
DESCRIBE POLICY hybrid;
EVALUATE POLICY hybrid ON test AT 5, 10;
EVALUATE POLICY hybrid ON validation AT 10 WITH (users = 6000);
