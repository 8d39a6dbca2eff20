"""Types of the public names, which `__init__` loads on first use."""

from typing import Final

from clipdata import steps as steps
from clipdata.bars import progress_bar as progress_bar
from clipdata.chains import to_datachain as to_datachain
from clipdata.comparison import Comparison as Comparison
from clipdata.comparison import compare as compare
from clipdata.comparison import compare_columns as compare_columns
from clipdata.comparison import compare_seeds as compare_seeds
from clipdata.encoder.loading import load_encoder as load_encoder
from clipdata.encoder.loading import new_encoder as new_encoder
from clipdata.encoder.model import Encoder as Encoder
from clipdata.encoder.model_config import ModelConfig as ModelConfig
from clipdata.encoder.tower_exports import export_towers as export_towers
from clipdata.errors import ClipdataError as ClipdataError
from clipdata.lance_io.cleaning import Cleaned as Cleaned
from clipdata.lance_io.cleaning import clean as clean
from clipdata.lance_io.history import log as log
from clipdata.lance_io.table import Table as Table
from clipdata.lance_io.table import open_table as open_table
from clipdata.lineage import Lineage as Lineage
from clipdata.mapped import Mapped as Mapped
from clipdata.mapping import map_column as map_column
from clipdata.progress import Progress as Progress
from clipdata.similarity import Similarity as Similarity
from clipdata.similarity import similar as similar
from clipdata.step_protocol import Step as Step
from clipdata.steps.functions import step as step
from clipdata.storage import Storage as Storage
from clipdata.stream.dataset import Stream as Stream
from clipdata.training import objectives as objectives
from clipdata.training import recipes as recipes
from clipdata.training.config import TrainConfig as TrainConfig
from clipdata.training.evaluation import Evaluated as Evaluated
from clipdata.training.evaluation import evaluate as evaluate
from clipdata.training.loop import train as train
from clipdata.training.plan import TrainingPlan as TrainingPlan
from clipdata.training.run import Run as Run
from clipdata.training.run import open_run as open_run

__version__: Final[str]
__all__: Final[list[str]]
