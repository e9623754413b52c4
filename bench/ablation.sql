-- What the parts of the paper's training bring on Beauty, as far as they can be had there without a language model: text
-- vectors by MiniLM, descriptors taken from categories, labels by rule. Photos are not to be had, so captions have a
-- script of their own, captions.sh. bench/run.sh gives the shell the data and the models.
.timer on
COPY items FROM 'beauty/items.jsonl.gz';
COPY interactions FROM 'beauty/sequences.tsv.gz' WITH (layout = 'sequences');
CREATE MODEL minilm USING bert WITH (path = 'models/minilm-fp16');
ENRICH items BY intent WITH (from = 'categories');
ENRICH items BY quality WITH (labels = 'heuristic');
ENRICH items BY text USING minilm WITH (parts = ['title', 'description'], space = 'plain');
ENRICH items BY text USING minilm WITH (parts = ['title', 'description', 'descriptors'], space = 'described');
CREATE CODEBOOK plain USING rq_kmeans ON plain;
REBUILD CODEBOOK plain;
CREATE CODEBOOK described USING rq_kmeans ON described;
REBUILD CODEBOOK described;
COMPARE CODEBOOK plain WITH described;

-- Text alone, by likelihood.
CREATE POLICY plain USING decoder ON CODEBOOK plain;
TRAIN POLICY plain WITH (epochs = 8);
EVALUATE POLICY plain ON test AT 10;

-- With descriptors in the codes, by likelihood.
CREATE POLICY described USING decoder ON CODEBOOK described;
TRAIN POLICY described WITH (epochs = 8);
EVALUATE POLICY described ON test AT 10;

-- Then the standard reward, which is the exact hit and the place among wrong ones.
TRAIN POLICY described USING grpo REWARD minionerec WITH (epochs = 1, group = 8);
EVALUATE POLICY described ON test AT 10;

-- From the same weights, which the same seed makes again, the paper's sum.
CREATE POLICY qarm USING decoder ON CODEBOOK described;
TRAIN POLICY qarm WITH (epochs = 8);
TRAIN POLICY qarm USING grpo REWARD qarm WITH (epochs = 1, group = 8);
EVALUATE POLICY qarm ON test AT 10;

-- Every figure with its interval over users.
.mode jsonl
SELECT policy, created, metrics FROM evaluations;
