-- Instruments by `hybrid`, over SIDs that others published: the items have no text, so there is no content to read.
-- bench/run.sh gives the shell the folder of the data.
.timer on
COPY items FROM 'instruments/items.jsonl.gz';
COPY interactions FROM 'instruments/sequences.tsv.gz' WITH (layout = 'sequences');
COPY codes FROM 'instruments/sids/genrec_wncfht.tsv.gz' WITH (codebook = 'full', publish = true);
CREATE POLICY h USING hybrid ON CODEBOOK full;
TRAIN POLICY h USING sft WITH (epochs = 12, batch = 128, patience = 4, validation_users = 3000);
DESCRIBE POLICY h;
EVALUATE POLICY h ON validation AT 10;
EVALUATE POLICY h ON test AT 5, 10;
EVALUATE POLICY h ON test AT 5, 10 WITH (filter_seen = false);
