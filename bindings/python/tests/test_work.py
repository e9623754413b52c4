"""Long work: Ctrl-C, threads, jobs, recommendations."""

import os
import signal
import threading
import time

import pytest

import sidql

FOREVER = "TRAIN POLICY p USING sft WITH (epochs = 100000, patience = 100000)"


@pytest.fixture
def decoder(shop: sidql.Connection) -> sidql.Connection:
    shop.execute("CREATE POLICY p USING decoder ON CODEBOOK full")
    return shop


def press_ctrl_c(after: float) -> None:
    threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGINT)).start()


def test_ctrl_c_cancels_the_statement(decoder: sidql.Connection) -> None:
    press_ctrl_c(1)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        decoder.execute(FOREVER)
    assert time.monotonic() - begin < 30
    state = decoder.execute("SELECT state FROM jobs ORDER BY job DESC LIMIT 1").fetchone()
    assert state == ("cancelled",)


def test_another_thread_interrupts_and_python_runs_meanwhile(decoder: sidql.Connection) -> None:
    ticks = []

    def watch() -> None:
        for _ in range(20):
            ticks.append(time.monotonic())
            time.sleep(0.02)
        decoder.interrupt()

    begin = time.monotonic()
    threading.Thread(target=watch).start()
    with pytest.raises(sidql.OperationalError) as caught:
        decoder.execute(FOREVER)
    assert caught.value.code == "cancelled"
    # The lock of the interpreter was free: the other thread ran during the statement.
    assert len(ticks) == 20 and ticks[10] > begin


def test_jobs(decoder: sidql.Connection) -> None:
    job = decoder.execute(f"{FOREVER} IN BACKGROUND").job
    assert job is not None and "TRAIN POLICY p" in job.statement
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.2)
    while job.progress().state != "running" or job.progress().total == 0:
        time.sleep(0.05)
    progress = job.progress()
    assert progress.stage and progress.seconds >= 0
    assert "<progress" in job._repr_html_() and "running" in job._repr_html_()
    decoder.job(job.number).cancel()
    assert job.progress().state == "cancelled"
    assert f"Job {job.number}, cancelled" in repr(job) and "cancelled" in job._repr_html_()
    with pytest.raises(sidql.Error):
        job.wait()
    with pytest.raises(sidql.ProgrammingError, match="there is no job 999"):
        decoder.job(999)


def test_a_job_that_ends_gives_its_answer(shop: sidql.Connection) -> None:
    shop.execute("TRAIN POLICY graph")
    job = shop.execute("EVALUATE POLICY graph ON test AT 5 IN BACKGROUND").job
    assert job is not None
    answer = job.wait()
    assert answer.rowcount == 1 and shop.job(job.number).progress().state == "done"
    assert (answer.description or [])[0][0] == "policy"


def test_ctrl_c_ends_the_waiting_not_the_job(decoder: sidql.Connection) -> None:
    job = decoder.execute(f"{FOREVER} IN BACKGROUND").job
    assert job is not None
    press_ctrl_c(0.3)
    with pytest.raises(KeyboardInterrupt):
        job.wait()
    assert job.progress().state in ("queued", "running")
    job.cancel()


def test_a_policy_is_asked_without_statements(shop: sidql.Connection) -> None:
    graph = shop.recommender("graph")
    assert graph.policy == "graph"
    after = graph.after(["s1n1", "s1n2"], 5)
    assert after[0][0] == "s1n3" and len(after) == 5
    assert [score for _, score in after] == sorted((score for _, score in after), reverse=True)
    asked = shop.execute("RECOMMEND 5 FOR USER 'u1' USING graph").fetchnumpy()["id"]
    assert [item for item, _ in graph.for_user("u1", 5)] == list(asked)
    with pytest.raises(sidql.ProgrammingError, match="did you mean `graph`"):
        shop.recommender("grpah")
    with pytest.raises(sidql.IntegrityError):
        graph.for_user("nobody")


def test_ctrl_c_ends_a_long_list_of_dicts(con: sidql.Connection) -> None:
    rows = [{"id": f"b{at}", "title": "ball", "n": at} for at in range(400_000)]
    press_ctrl_c(0.3)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        con.insert("items", rows)
    assert time.monotonic() - begin < 5
    assert con.execute("SELECT count(*) FROM items").fetchone() == (0,)


def test_ctrl_c_ends_many_short_statements(con: sidql.Connection) -> None:
    many = [[f"b{at}"] for at in range(1_000_000)]
    press_ctrl_c(2)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        con.executemany("INSERT INTO items {id: ?}", many)
    assert time.monotonic() - begin < 30
    assert con.execute("SELECT count(*) FROM items").fetchone() == (0,)


def test_ctrl_c_ends_the_wait_for_another_thread(decoder: sidql.Connection) -> None:
    ended = []

    def train() -> None:
        try:
            decoder.execute(FOREVER)
        except sidql.OperationalError as error:
            ended.append(error.code)

    other = threading.Thread(target=train)
    other.start()
    time.sleep(0.5)
    press_ctrl_c(0.3)
    with pytest.raises(KeyboardInterrupt):
        decoder.execute("SELECT count(*) FROM items")
    # What the other thread runs goes on until somebody ends that.
    assert other.is_alive()
    decoder.interrupt()
    other.join(30)
    assert ended == ["cancelled"]
