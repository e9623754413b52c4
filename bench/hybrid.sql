-- Beauty by `hybrid`, three seeds, from nothing to evaluated policies. bench/run.sh gives the shell the folder of the data;
-- `models` there is the folder of models, or a link to it. Settings were chosen on validation.
.timer on
COPY items FROM 'beauty/items.jsonl.gz';
COPY interactions FROM 'beauty/sequences.tsv.gz' WITH (layout = 'sequences');
CREATE MODEL minilm USING bert WITH (path = 'models/minilm-fp16');
ENRICH items BY text USING minilm;
CREATE CODEBOOK full USING rq_kmeans ON text;
REBUILD CODEBOOK full;
CREATE POLICY hybrid1 USING hybrid ON CODEBOOK full;
TRAIN POLICY hybrid1 WITH (epochs = 12, batch = 128, seed = 1);
CREATE POLICY hybrid2 USING hybrid ON CODEBOOK full;
TRAIN POLICY hybrid2 WITH (epochs = 12, batch = 128, seed = 2);
CREATE POLICY hybrid3 USING hybrid ON CODEBOOK full;
TRAIN POLICY hybrid3 WITH (epochs = 12, batch = 128, seed = 3);
EVALUATE POLICY hybrid1, hybrid2, hybrid3 ON validation AT 5, 10;
EVALUATE POLICY hybrid1, hybrid2, hybrid3 ON test AT 5, 10;
EVALUATE POLICY hybrid1, hybrid2, hybrid3 ON test AT 5, 10 WITH (filter_seen = false);
SHOW EVALUATIONS;
