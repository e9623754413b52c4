-- Sports by `hybrid`, with three seeds. The items have no titles: content is hashed words of what there is. bench/run.sh gives the shell the
-- folder of the data.
.timer on
COPY items FROM 'sports/items.jsonl.gz';
COPY interactions FROM 'sports/sequences.tsv.gz' WITH (layout = 'sequences');
ENRICH items BY text USING hash WITH (parts = ['text_id', 'brand', 'categories', 'keywords']);
CREATE CODEBOOK full USING rq_kmeans ON text;
REBUILD CODEBOOK full;

CREATE POLICY seed1 USING hybrid ON CODEBOOK full;
TRAIN POLICY seed1 WITH (epochs = 12, batch = 128, validation_users = 3000, seed = 1);
DESCRIBE POLICY seed1;
EVALUATE POLICY seed1 ON validation AT 10;
EVALUATE POLICY seed1 ON test AT 5, 10;

CREATE POLICY seed2 USING hybrid ON CODEBOOK full;
TRAIN POLICY seed2 WITH (epochs = 12, batch = 128, validation_users = 3000, seed = 2);
EVALUATE POLICY seed2 ON test AT 5, 10;

CREATE POLICY seed3 USING hybrid ON CODEBOOK full;
TRAIN POLICY seed3 WITH (epochs = 12, batch = 128, validation_users = 3000, seed = 3);
EVALUATE POLICY seed3 ON test AT 5, 10;
