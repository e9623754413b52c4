-- Beauty from nothing to evaluated policies. bench/run.sh gives the shell the folder of the data.
.timer on
COPY items FROM 'beauty/items.jsonl.gz';
COPY interactions FROM 'beauty/sequences.tsv.gz' WITH (layout = 'sequences');
ENRICH items BY text;
CREATE CODEBOOK full USING rq_kmeans ON text;
REBUILD CODEBOOK full;
CREATE POLICY popular USING popular;
TRAIN POLICY popular;
CREATE POLICY item_graph USING item_graph;
TRAIN POLICY item_graph;
CREATE POLICY decoder USING decoder ON CODEBOOK full;
TRAIN POLICY decoder WITH (epochs = 5);
EVALUATE POLICY popular, item_graph, decoder ON test AT 5, 10;
EVALUATE POLICY popular, item_graph, decoder ON test AT 5, 10 WITH (filter_seen = false);
DESCRIBE CODEBOOK full;
VERIFY;
SHOW SPACE;
