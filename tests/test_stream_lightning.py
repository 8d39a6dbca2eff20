"""Lightning trains on a stream as on any loader, and goes on in the midst of an epoch."""

from pathlib import Path

import lance
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from clipdata.lance_io.table import open_table
from clipdata.stream import Stream

lightning = pytest.importorskip("lightning")

pytestmark = pytest.mark.slow
NUM_ROWS = 20


class Remembers(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(1, 1), []

    def training_step(self, batch, _):
        self.seen.append(batch["label"].tolist())
        return self.layer(batch["label"].float()[:, None]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder: Path):
    saves = lightning.pytorch.callbacks.ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(accelerator="cpu", callbacks=[saves], max_epochs=2, default_root_dir=folder, **quiet)


def test_each_epoch_has_each_row_once_in_another_order_and_a_checkpoint_goes_on_behind_its_step(tmp_path):
    lance.write_dataset(pa.table({"label": range(NUM_ROWS)}), tmp_path / "rows.lance")
    table = open_table(tmp_path / "rows.lance")

    def stream() -> Stream:
        return Stream(table, ["label"], batch_size=4, seed=1)

    expected = [batch["label"].tolist() for batch in Stream(table, ["label"], batch_size=4, seed=1, until_epoch=2)]
    plain, whole, resumed = Remembers(), Remembers(), Remembers()

    trainer(tmp_path / "plain").fit(plain, DataLoader(stream(), batch_size=None))
    trainer(tmp_path / "whole").fit(whole, stream())
    trainer(tmp_path / "again").fit(resumed, stream(), ckpt_path=tmp_path / "whole" / "step=3.ckpt", weights_only=False)

    assert plain.seen == whole.seen == expected
    assert resumed.seen == expected[3:]
