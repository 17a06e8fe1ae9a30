"""Moved to regard.inside.result; stands here until the page has moved as well."""

from regard.inside.result import END as END
from regard.inside.result import KIND as KIND
from regard.inside.result import PARTS as PARTS
from regard.inside.result import START as START
from regard.inside.result import VERSION as VERSION
from regard.inside.result import Alignment as Alignment
from regard.inside.result import Attention as Attention
from regard.inside.result import Candidate as Candidate
from regard.inside.result import Guess as Guess
from regard.inside.result import Look as Look
from regard.inside.result import Part as Part
from regard.inside.result import Search as Search
from regard.inside.result import Side as Side
from regard.inside.result import Step as Step
