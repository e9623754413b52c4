# %% [markdown]
# # From a CSV file to recommendations
#
# A small made-up shop: its catalogue and what its customers bought, as CSV files. At the end sidql recommends.
# Run it cell by cell in an editor that knows `# %%`, or as a program.

# %%
import csv
import random
import tempfile
from pathlib import Path

import sidql

folder = Path(tempfile.mkdtemp())
chance = random.Random(7)
KINDS = {
    "tea": ["green tea", "black tea", "mint tea", "teapot", "tea strainer", "tea tin"],
    "coffee": ["espresso beans", "filter coffee", "moka pot", "coffee grinder", "milk frother", "cup"],
    "baking": ["bread flour", "rye flour", "yeast", "loaf tin", "whisk", "rolling pin"],
}

with open(folder / "items.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["id", "title", "shelf", "price"])
    for shelf, goods in KINDS.items():
        for at, good in enumerate(goods):
            for size in ("small", "large"):
                price = round(chance.uniform(3, 40), 2)
                table.writerow([f"{shelf}-{at}-{size}", f"{size} {good}, for {shelf}", shelf, price])

with open(folder / "bought.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["user", "item", "time"])
    for user in range(300):
        # A customer has a shelf of the heart, and goes along it with the good of before in mind.
        shelf, at = chance.choice(list(KINDS)), chance.randrange(6)
        for time in range(6):
            table.writerow([f"u{user}", f"{shelf}-{at}-{chance.choice(['small', 'large'])}", time])
            at = (at + chance.choice([1, 1, 1, 2])) % 6

# %% [markdown]
# ## Files become a catalogue
#
# `sidql.connect("shop.sidql")` would keep it in a file.

# %%
con = sidql.connect()
print(con.execute("COPY items FROM ?", [str(folder / "items.csv")]).message)
print(con.execute("COPY interactions FROM ?", [str(folder / "bought.csv")]).message)
con.execute("SELECT shelf, count(*) AS items, avg(price) AS price FROM items GROUP BY shelf").df()

# %% [markdown]
# Rows that Python has already go in without a file, from pandas, polars, Arrow or dicts.

# %%
con.insert("items", [{"id": "gift-card", "title": "gift card for tea and coffee", "price": 25.0}])

# %% [markdown]
# ## Texts become vectors, vectors become Semantic IDs

# %%
print(con.execute("ENRICH items BY text USING hash").message)
con.execute("CREATE CODEBOOK shelf USING rq_kmeans ON text WITH (levels = 2, codes = 8)")
print(con.execute("REBUILD CODEBOOK shelf WITH (publish = true)").message)
con.execute("SELECT id, title, sid FROM items ORDER BY sid LIMIT 8").pl()

# %% [markdown]
# Vectors come out as a matrix, and go in as parameters.

# %%
found = con.execute("SELECT id, embedding('text') AS vector FROM items").fetchnumpy()
middle = found["vector"].mean(axis=0)
con.execute("SELECT id, title FROM items NEAR ? IN text LIMIT 3", [middle]).df()

# %% [markdown]
# ## A policy learns what follows what
#
# `item_graph` counts; `decoder` is a transformer that speaks the codes. Both are trained, measured and asked alike.
# The job runs in the background; a notebook shows a bar for it.

# %%
con.execute("CREATE POLICY graph USING item_graph")
con.execute("TRAIN POLICY graph")
con.execute("CREATE POLICY p USING decoder ON CODEBOOK shelf")
job = con.execute("TRAIN POLICY p USING sft WITH (epochs = 3) IN BACKGROUND").job
assert job is not None
print(job.progress())
print(job.wait().message)

# %%
con.execute("EVALUATE POLICY graph, p ON test AT 5").df()

# %% [markdown]
# ## Recommendations
#
# By a statement, under a predicate, or without parsing.

# %%
cheap = con.execute("RECOMMEND 5 FOR USER 'u1' USING p WHERE price < 30").df()
best = con.recommender("graph").after(["tea-0-small", "tea-1-large"], 5)
for item, score in best:
    print(f"{item:20} {score:.3f}")
