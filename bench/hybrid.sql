-- Beauty by `hybrid`, from nothing to evaluated policies. bench/run.sh gives the shell the
-- folder of the data; `models` there is the folder of models, or a link to it.
.timer on
COPY items FROM 'beauty/items.jsonl.gz';
COPY interactions FROM 'beauty/sequences.tsv.gz' WITH (layout = 'sequences');
CREATE MODEL minilm USING bert WITH (path = 'models/minilm-fp16');
ENRICH items BY text USING minilm;
CREATE CODEBOOK full USING rq_kmeans ON text;
REBUILD CODEBOOK full;
CREATE POLICY hybrid USING hybrid ON CODEBOOK full;
TRAIN POLICY hybrid WITH (epochs = 12, batch = 128, validation_users = 3000, seed = 1);
DESCRIBE POLICY hybrid;
EVALUATE POLICY hybrid ON validation AT 5, 10;
EVALUATE POLICY hybrid ON test AT 5, 10;
EVALUATE POLICY hybrid ON test AT 5, 10 WITH (filter_seen = false);
EVALUATE POLICY hybrid ON test AT 5, 10 WITH (beam = 20, users = 6000);
