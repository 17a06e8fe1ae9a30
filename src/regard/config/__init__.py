"""The recipe: every setting of a run, its type, default and meaning. The only place with defaults.

What a default cannot know (how much data there is) is chosen in presets.py. A recipe is read from TOML, overridden by
`key=value`, and written to the run folder.
"""

from regard.config.model import Model as Model
from regard.config.names import NAMES as NAMES
from regard.config.reading import CHOSEN as CHOSEN
from regard.config.reading import Setting as Setting
from regard.config.reading import Settings as Settings
from regard.config.reading import build_recipe as build_recipe
from regard.config.reading import build_section as build_section
from regard.config.reading import check_given as check_given
from regard.config.reading import check_key as check_key
from regard.config.reading import known_keys as known_keys
from regard.config.reading import known_settings as known_settings
from regard.config.reading import merge as merge
from regard.config.reading import parse_override as parse_override
from regard.config.reading import parse_toml as parse_toml
from regard.config.reading import read_toml as read_toml
from regard.config.recipe import Data as Data
from regard.config.recipe import Decoding as Decoding
from regard.config.recipe import Recipe as Recipe
from regard.config.recipe import Side as Side
from regard.config.recipe import Tokenizers as Tokenizers
from regard.config.section import Section as Section
from regard.config.toml import toml_value as toml_value
from regard.config.training import Training as Training
