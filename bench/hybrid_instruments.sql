-- Instruments by `hybrid` with three seeds, over SIDs that others published: the items have no text, so there is no content to read.
-- bench/run.sh gives the shell the folder of the data.
.timer on
COPY items FROM 'instruments/items.jsonl.gz';
COPY interactions FROM 'instruments/sequences.tsv.gz' WITH (layout = 'sequences');
COPY codes FROM 'instruments/sids/genrec_wncfht.tsv.gz' WITH (codebook = 'full', publish = true);

CREATE POLICY seed1 USING hybrid ON CODEBOOK full;
TRAIN POLICY seed1 WITH (epochs = 20, batch = 128, patience = 4, validation_users = 3000, seed = 1);
DESCRIBE POLICY seed1;
EVALUATE POLICY seed1 ON validation AT 10;
EVALUATE POLICY seed1 ON test AT 5, 10 WITH (filter_seen = false);
EVALUATE POLICY seed1 ON test AT 5, 10;

CREATE POLICY seed2 USING hybrid ON CODEBOOK full;
TRAIN POLICY seed2 WITH (epochs = 20, batch = 128, patience = 4, validation_users = 3000, seed = 2);
EVALUATE POLICY seed2 ON test AT 5, 10;

CREATE POLICY seed3 USING hybrid ON CODEBOOK full;
TRAIN POLICY seed3 WITH (epochs = 20, batch = 128, patience = 4, validation_users = 3000, seed = 3);
EVALUATE POLICY seed3 ON test AT 5, 10;
