"""Who is asked about at the same moment is computed together, and gets what a question alone gets, to the last bit."""

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest

from churn_assets.deciding.release_models import ReleaseModels, canonical
from churn_assets.release.bundle import RELEASE
from churn_assets.release.deciding import load_release
from churn_assets.release.loaded import load_member
from churn_assets.serving.batching import LARGEST_BATCH, DynamicBatcher


@dataclass(frozen=True, eq=False)
class Counting(ReleaseModels):
    """Real models that note how many customers each call was about."""

    def compute(self, X, prior_offers):
        SIZES.append(len(X))
        if np.isinf(X).any():
            raise OverflowError("a planted fault")
        return super().compute(X, prior_offers)


SIZES: list[int] = []


def counting(models: ReleaseModels) -> Counting:
    return Counting(models.responses, models.policy, models.known)


@pytest.fixture(scope="module")
def models(built) -> Counting:
    return counting(load_release(built.store, built.first)[1])


@pytest.fixture(scope="module")
def unseen(built, models):
    """Customers with a price that nobody pays."""
    table = load_member(built.store, built.store.load(built.first, RELEASE).bundle, "customers")
    X = canonical(table.X[:90]).copy()
    X[:, models.schema.names.index(models.schema.monthly_revenue)] += 0.0137
    return X


@pytest.fixture(autouse=True)
def _from_nothing():
    SIZES.clear()


def test_questions_of_one_turn_are_one_computation_and_get_what_they_would_get_alone(models, unseen):
    batcher, prior = DynamicBatcher(), [row % 3 for row in range(len(unseen))]

    async def ask_all():
        asked = [batcher.foresee(models, unseen[i : i + 1], prior[i : i + 1]) for i in range(LARGEST_BATCH)]
        return await asyncio.gather(*asked)

    together = asyncio.run(ask_all())

    assert SIZES == [LARGEST_BATCH]
    for row, (outlooks, known) in enumerate(together):
        alone = models.outlooks(unseen[row : row + 1], prior[row : row + 1])
        assert (outlooks.tobytes(), known) == (alone.outlooks.tobytes(), alone.known)


def test_no_turn_takes_more_than_the_largest_batch_and_everybody_is_answered(models, unseen):
    batcher = DynamicBatcher()

    async def ask_all():
        return await asyncio.gather(
            *(batcher.foresee(models, unseen[i : i + 9], [0] * 9) for i in range(0, 90, 9))
        )

    found = asyncio.run(ask_all())

    assert sum(SIZES) == 90
    assert max(SIZES) <= LARGEST_BATCH
    expected = models.compute(unseen, [0] * 90).tobytes()
    assert b"".join(each.outlooks.tobytes() for each in found) == expected


def test_a_batch_is_of_one_release(built, models, unseen):
    other, batcher = counting(load_release(built.store, built.second)[1]), DynamicBatcher()
    askers = (models, other, other, models)

    async def ask_all():
        return await asyncio.gather(*(batcher.foresee(each, unseen[:1], [0]) for each in askers))

    for (outlooks, _), each in zip(asyncio.run(ask_all()), askers, strict=True):
        assert outlooks.tobytes() == each.compute(unseen[:1], [0]).tobytes()


def test_customers_whom_the_release_knows_wait_for_nobody(built, models, unseen):
    known = canonical(
        load_member(built.store, built.store.load(built.first, RELEASE).bundle, "customers").X[:1]
    )
    batcher = DynamicBatcher()
    alone = batcher.foresee(models, known, [0])
    with pytest.raises(StopIteration) as finished:
        alone.send(None)  # ends without having waited once
    assert finished.value.value.known == [True]
    mixed = asyncio.run(batcher.foresee(models, np.concatenate([known, unseen[:2]]), [0] * 3))
    assert mixed.known == [True, False, False]
    assert SIZES == [2]
    expected = models.compute(np.concatenate([known, unseen[:2]]), [0] * 3)
    assert mixed.outlooks.tobytes() == expected.tobytes()


def test_who_leaves_takes_nobody_along(models, unseen):
    batcher = DynamicBatcher()

    async def one_leaves():
        first, second = (
            asyncio.ensure_future(batcher.foresee(models, unseen[i : i + 1], [0])) for i in (0, 1)
        )
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(one_leaves()).outlooks.tobytes() == models.compute(unseen[1:2], [0]).tobytes()


def test_a_fault_reaches_who_asked_and_the_next_is_answered(models, unseen):
    batcher, broken = DynamicBatcher(), np.full_like(unseen[:1], np.inf)

    async def after_a_fault():
        with pytest.raises(OverflowError, match="planted"):
            await batcher.foresee(models, broken, [0])
        return await batcher.foresee(models, unseen[:1], [0])

    assert asyncio.run(after_a_fault()).known == [False]
