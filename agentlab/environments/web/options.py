"""How one site is used: where it is, what may be reached, what an agent is granted.

Options are recorded with the run, so none of them is a secret: a token is named by the variable
of the environment that holds it, and a login by the file of the state that playwright saved.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentlab.types import Frozen

Grant = Literal["upload", "download"]
Dialogs = Literal["accept", "dismiss"]
MOST_MEGABYTES = 2_000


class Options(Frozen):
    """One site, as `web:<url>` and the environments over it use it.

    A site that can be reset is asked so by the host and never by the page, in four addresses
    (relative to `url`), in which `{episode}` stands for a name that the attempt alone has:

    - `reset_url`: POST `{"seed": int, "setup": …}` makes the world of that episode anew;
    - `enter_url`: GET gives the cookies by which the browser is in that world;
    - `state_url`: GET gives that world as a JSON object, for verifiers;
    - `drop_url`: DELETE forgets that world, once nobody uses it any more.

    With two more, going back to an earlier state costs one page instead of all the calls that led
    there: `save_url` (POST) answers `{"saved": name}` for the world as it is, and `load_url`
    (POST `{"saved": name}`) makes it so again, or answers 410 where the name is forgotten.
    """

    url: str
    """Where an attempt begins, but for a path that its task gives."""
    origins: tuple[str, ...] = ()
    """What may be reached beside the origin of `url`."""
    aliases: dict[str, int] = Field(default_factory=dict)
    """Origin to the port on loopback behind it: `{"http://store.localhost": 8123}`."""
    reset_url: str = ""
    enter_url: str = ""
    state_url: str = ""
    drop_url: str = ""
    save_url: str = ""
    load_url: str = ""
    reader: str = ""
    """`module:function` or `file.py:function`, asked for the state with the address of `url`."""
    token_variable: str = ""
    """The variable of the environment that holds the token of these addresses."""
    token_header: str = "X-Control-Token"
    login: str = ""
    """A file of cookies and storage that each attempt begins with (playwright's)."""
    own_certificates: bool = False
    """Whether certificates are accepted that no authority signed, as a site under test has them."""
    grants: tuple[Grant, ...] = ()
    files: str = ""
    """The folder whose files may be uploaded."""
    dialogs: Dialogs = "dismiss"
    """What is answered to `confirm` and `prompt`; an `alert` is always accepted."""
    width: int = Field(default=1280, ge=160, le=4096)
    height: int = Field(default=800, ge=160, le=4096)
    settle: float = Field(default=0.15, ge=0, le=10)
    """Seconds without traffic after which a page counts as settled."""
    patience: float = Field(default=1.0, ge=0, le=10)
    """Seconds that a control may take to appear."""
    seconds: float = Field(default=10.0, gt=0, le=60)
    """That a page may take to load, and an action to be carried out."""
    most_characters: int = Field(default=8_000, ge=500, le=60_000)
    """Of the page in one observation."""
    most_bytes: int = Field(default=5_000_000, ge=1_000)
    """Of one answer of a server; a longer one is cut off."""
    most_megabytes: int = Field(default=MOST_MEGABYTES, ge=1_000, le=1_000_000)
    """Of memory that each process of the browser may take for itself, where the kernel keeps such
    a limit (Linux); of 1,048,576 bytes. A tab has one process as a rule, which takes some 400 of it
    before it does anything, most of that never used. A page that wants more crashes, and the step
    says so; a buffer that is too large for what is left is refused to the page."""
    trace: bool = False
    """Whether playwright's trace of each attempt is kept."""
    crawl_pages: int = Field(default=24, ge=0, le=500)
    """That are looked at before tasks are proposed by a model; 0 looks at none."""
    crawl_depth: int = Field(default=3, ge=0, le=20)
    """Links from the first page on."""
    crawl_seconds: float = Field(default=60.0, gt=0, le=3600)
    crawl_changes: bool = False
    """Whether looking around may send what changes something: each form as it stands, once."""
