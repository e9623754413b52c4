-- SIDs of Beauty: those that others have released beside ours, over text vectors by hashed words. bench/run.sh gives the shell the
-- folder of the data.
.timer on
COPY items FROM 'beauty/items.jsonl.gz';
COPY interactions FROM 'beauty/sequences.tsv.gz' WITH (layout = 'sequences');
ENRICH items BY text USING hash;
COPY codes FROM 'beauty/sids/letter.tsv.gz' WITH (codebook = 'letter');
COPY codes FROM 'beauty/sids/cgr_letter_native.tsv.gz' WITH (codebook = 'cgr_letter_native');
COPY codes FROM 'beauty/sids/cgr_letter_zcr.tsv.gz' WITH (codebook = 'cgr_letter_zcr');
COPY codes FROM 'beauty/sids/cgr_mql4grec.tsv.gz' WITH (codebook = 'cgr_mql4grec');
COPY codes FROM 'beauty/sids/cgr_quasid_native.tsv.gz' WITH (codebook = 'cgr_quasid_native');
COPY codes FROM 'beauty/sids/cgr_quasid_zcr.tsv.gz' WITH (codebook = 'cgr_quasid_zcr');
COPY codes FROM 'beauty/sids/cgr_rkmeans_native.tsv.gz' WITH (codebook = 'cgr_rkmeans_native');
COPY codes FROM 'beauty/sids/cgr_rkmeans_zcr.tsv.gz' WITH (codebook = 'cgr_rkmeans_zcr');
COPY codes FROM 'beauty/sids/cgr_rkmeans_zcr_cf.tsv.gz' WITH (codebook = 'cgr_rkmeans_zcr_cf');
COPY codes FROM 'beauty/sids/cgr_rqvae_native.tsv.gz' WITH (codebook = 'cgr_rqvae_native');
COPY codes FROM 'beauty/sids/cgr_rqvae_zcr.tsv.gz' WITH (codebook = 'cgr_rqvae_zcr');
COPY codes FROM 'beauty/sids/screc_text_32.tsv.gz' WITH (codebook = 'screc_text_32');
COPY codes FROM 'beauty/sids/unigenrec_text_rqkmeans.tsv.gz' WITH (codebook = 'unigenrec_rqkmeans');
COPY codes FROM 'beauty/sids/unigenrec_text_rqvae_faiss.tsv.gz' WITH (codebook = 'unigenrec_rqvae');
CREATE CODEBOOK rq_kmeans USING rq_kmeans ON text WITH (collisions = 'allow');
REBUILD CODEBOOK rq_kmeans;
CREATE CODEBOOK rq_kmeans_balanced USING rq_kmeans ON text WITH (balanced = true, collisions = 'allow');
REBUILD CODEBOOK rq_kmeans_balanced;
CREATE CODEBOOK rq_kmeans_plus USING rq_kmeans_plus ON text WITH (collisions = 'allow');
REBUILD CODEBOOK rq_kmeans_plus;
CREATE CODEBOOK rq_vae USING rq_vae ON text WITH (collisions = 'allow');
REBUILD CODEBOOK rq_vae;
CREATE CODEBOOK unique_rq_kmeans USING rq_kmeans ON text;
REBUILD CODEBOOK unique_rq_kmeans;
.mode markdown
SELECT codebook, items, sizes, used, perplexity, collisions, largest, error, followers FROM generations;
