-- What the parts of the paper's training bring on Beauty, as far as they can be had without a language model: text vectors by
-- hashed words, descriptors taken from categories, labels by rule. bench/run.sh gives the shell the folder of the data.
.timer on
COPY items FROM 'beauty/items.jsonl.gz';
COPY interactions FROM 'beauty/sequences.tsv.gz' WITH (layout = 'sequences');
ENRICH items BY intent WITH (from = 'categories');
ENRICH items BY quality WITH (labels = 'heuristic');
ENRICH items BY text WITH (parts = ['title', 'description'], space = 'plain');
ENRICH items BY text WITH (parts = ['title', 'description', 'descriptors'], space = 'described');
CREATE CODEBOOK plain USING rq_kmeans ON plain;
REBUILD CODEBOOK plain;
CREATE CODEBOOK described USING rq_kmeans ON described;
REBUILD CODEBOOK described;
COMPARE CODEBOOK plain WITH described;

-- Text alone, by likelihood.
CREATE POLICY plain USING decoder ON CODEBOOK plain;
TRAIN POLICY plain WITH (epochs = 5);
EVALUATE POLICY plain ON test AT 5, 10;

-- With descriptors in the codes, by likelihood.
CREATE POLICY described USING decoder ON CODEBOOK described;
TRAIN POLICY described WITH (epochs = 5);
EVALUATE POLICY described ON test AT 5, 10;

-- The same weights, then rewards: the exact hit alone, and the paper's sum.
CREATE POLICY exact USING decoder ON CODEBOOK described;
TRAIN POLICY exact WITH (epochs = 5);
TRAIN POLICY exact USING grpo REWARD exact WITH (epochs = 1, group = 8);
EVALUATE POLICY exact ON test AT 5, 10;
CREATE POLICY qarm USING decoder ON CODEBOOK described;
TRAIN POLICY qarm WITH (epochs = 5);
TRAIN POLICY qarm USING grpo REWARD qarm WITH (epochs = 1, group = 8);
EVALUATE POLICY qarm ON test AT 5, 10;
SELECT * FROM evaluations;
