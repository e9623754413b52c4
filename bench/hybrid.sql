-- Beauty by `hybrid`, from nothing to evaluated policies, with three seeds. bench/run.sh gives the shell the
-- data and the models.
.timer on
COPY items FROM 'beauty/items.jsonl.gz';
COPY interactions FROM 'beauty/sequences.tsv.gz' WITH (layout = 'sequences');
CREATE MODEL minilm USING bert WITH (path = 'models/minilm-fp16');
ENRICH items BY text USING minilm;
CREATE CODEBOOK full USING rq_kmeans ON text;
REBUILD CODEBOOK full;

CREATE POLICY seed1 USING hybrid ON CODEBOOK full;
TRAIN POLICY seed1 WITH (epochs = 12, batch = 128, validation_users = 3000, seed = 1);
DESCRIBE POLICY seed1;
EVALUATE POLICY seed1 ON validation AT 5, 10;
EVALUATE POLICY seed1 ON test AT 5, 10 WITH (filter_seen = false);
EVALUATE POLICY seed1 ON test AT 5, 10 WITH (beam = 20, users = 6000);
EVALUATE POLICY seed1 ON test AT 5, 10;

CREATE POLICY seed2 USING hybrid ON CODEBOOK full;
TRAIN POLICY seed2 WITH (epochs = 12, batch = 128, validation_users = 3000, seed = 2);
EVALUATE POLICY seed2 ON test AT 5, 10;

CREATE POLICY seed3 USING hybrid ON CODEBOOK full;
TRAIN POLICY seed3 WITH (epochs = 12, batch = 128, validation_users = 3000, seed = 3);
EVALUATE POLICY seed3 ON test AT 5, 10;

-- The SID head alone, where it weighs more while training: what it gains, and what both heads together lose.
CREATE POLICY sids USING hybrid ON CODEBOOK full WITH (sid_weight = 1.5);
TRAIN POLICY sids WITH (epochs = 12, batch = 128, validation_users = 3000, seed = 1);
EVALUATE POLICY sids ON validation AT 10;
EVALUATE POLICY sids ON validation AT 10 WITH (beam = 20, users = 6000);
EVALUATE POLICY seed1 ON validation AT 10 WITH (beam = 20, users = 6000);
