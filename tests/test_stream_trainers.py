"""accelerate, Hugging Face's Trainer and sentence-transformers' train on a stream, and see each row once an epoch."""

import itertools
from pathlib import Path

import lance
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from clipdata.errors import UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream

accelerate = pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.slow
NUM_ROWS = 20


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    uri = tmp_path_factory.mktemp("trainers") / "rows.lance"
    texts = {name: [f"{name} w{number}" for number in range(NUM_ROWS)] for name in ("anchor", "positive")}
    lance.write_dataset(pa.table({"label": range(NUM_ROWS), **texts}), uri)
    return open_table(uri)


def batches_of(table: Table) -> Stream:
    return Stream(table, ["label", "anchor"], batch_size=4, seed=1)


def samples_of(table: Table) -> Stream:
    return Stream(table, ["label", "anchor"], batch_size=None, seed=1, rank=0, world_size=1)


@pytest.mark.parametrize("dispatch", [None, False, True])
def test_accelerate_prepares_a_loader_of_batches_and_of_single_rows(table, dispatch):
    config = accelerate.utils.DataLoaderConfiguration(dispatch_batches=dispatch)
    accelerator = accelerate.Accelerator(cpu=True, dataloader_config=config)
    expected = [batch["label"].tolist() for batch in batches_of(table).repeat(2)]

    for stream, batch_size in ((batches_of(table), None), (samples_of(table), 4)):
        loader = accelerator.prepare(DataLoader(stream, batch_size=batch_size))
        seen = [batch["label"].tolist() for _ in range(2) for batch in loader]
        assert seen == expected
        assert len(loader) == NUM_ROWS // 4


def test_accelerate_goes_on_where_a_state_was_taken(table):
    expected = [batch["label"].tolist() for batch in batches_of(table)]
    begun, again = batches_of(table), batches_of(table)
    list(itertools.islice(begun, 3))

    again.load_state_dict(begun.state_dict())
    loader = accelerate.Accelerator(cpu=True).prepare(DataLoader(again, batch_size=None))

    assert [batch["label"].tolist() for batch in loader] == expected[3:]


def test_a_share_of_a_share_is_refused(table):
    stream = Stream(table, ["label"], batch_size=None, rank=0, world_size=2)
    shard = accelerate.data_loader.IterableDatasetShard(stream, batch_size=2, num_processes=2, process_index=0)

    with pytest.raises(UsageError, match="so that rows would be lost") as caught:
        next(iter(shard))

    assert "rank=0, world_size=1" in caught.value.hint


class Remembers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(1, 1), []

    def forward(self, number, **_):
        self.seen.append(number.tolist())
        return {"loss": self.layer(number.float()[:, None]).mean()}


def test_hugging_faces_trainer_batches_single_rows(table, tmp_path: Path):
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        max_steps=10,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    model = Remembers()
    columns = {"number": "label"}  # a collator of theirs calls a label otherwise
    stream = Stream(table, columns, batch_size=None, seed=1, rank=0, world_size=1)

    transformers.Trainer(model=model, args=arguments, train_dataset=stream).train()

    assert model.seen == [batch["label"].tolist() for batch in batches_of(table).repeat(2)]


def test_sentence_transformers_train_on_pairs_of_texts(table, tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    sentence_transformers = pytest.importorskip("sentence_transformers", minversion="6")
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizers = pytest.importorskip("tokenizers")
    words = [f"w{number}" for number in range(NUM_ROWS)]
    places = {word: place for place, word in enumerate(["[UNK]", "anchor", "positive", *words])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(places, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    embedding = StaticEmbedding(tokenizer, embedding_dim=8)
    model = sentence_transformers.SentenceTransformer(modules=[embedding], device="cpu")
    stream = Stream(table, ["anchor", "positive"], batch_size=None, seed=1, rank=0, world_size=1)
    seen = []

    def pairs():
        for sample in stream:
            seen.append(sample["anchor"])
            yield {name: sample[name] for name in ("anchor", "positive")}

    features = datasets.Features({name: datasets.Value("string") for name in ("anchor", "positive")})
    arguments = sentence_transformers.SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        max_steps=NUM_ROWS // 4,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    before = embedding.embedding.weight.detach().clone()

    sentence_transformers.SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.IterableDataset.from_generator(pairs, features=features),
        loss=MultipleNegativesRankingLoss(model),
    ).train()

    assert seen[:NUM_ROWS] == [sample["anchor"] for sample in samples_of(table)]
    moved = (embedding.embedding.weight.detach() - before).abs().sum(1) > 0
    assert moved[3:].all()  # the words of every row
