"""What the viewer looks at, behind one protocol.

protocol.py        Source, and what it may be able to do beyond showing rows
opening.py         which kind of source a location is
lance_table.py     a Lance table, whoever wrote it, at one version
parquet_file.py    one parquet file, or a folder of them
picture_folder.py  files of pictures below a folder
filterable.py      filters for what is no Lance table
picture_guess.py   which column holds pictures, where nothing says so
"""

from clipdata.viewer.sources.lance_table import LanceTable
from clipdata.viewer.sources.opening import open_source
from clipdata.viewer.sources.parquet_file import ParquetFile
from clipdata.viewer.sources.picture_folder import PictureFolder
from clipdata.viewer.sources.protocol import Source

__all__ = ["LanceTable", "ParquetFile", "PictureFolder", "Source", "open_source"]
