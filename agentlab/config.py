"""What a run is asked to do: one frozen model, from TOML file, environment and flags.

Later sources win: file, then `AGENTLAB_<OPTION>` variables, then flags. Unknown keys are
refused with the nearest known one. The config of a run is written into its directory before
the first attempt and is all that `resume` reads.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agentlab.errors import ConfigError
from agentlab.types import Frozen, JsonObject

IndexName = Literal["chroma", "exact"]

MOST = 2**63 - 1
"""The largest whole number that the records can hold."""
MOST_COUNTED = 10**12
"""The most of anything that can be counted or spent, so that sums fit the records too."""
DEEPEST = 32
"""How many lists and objects an option may have inside each other."""
SHOWN = 80
"""Characters of a wrong value that a sentence repeats, at most."""


def value_fault(value: object, depth: int = 0) -> str | None:
    """Why a value cannot be an option, or be written down with a run; None where it can.

    Numbers are those that records and JSON hold, text is what UTF-8 can spell, without NUL.
    """
    if isinstance(value, str):
        return _text_fault(value)
    if isinstance(value, int) and abs(value) > MOST:
        return f"whole numbers go up to {MOST}"
    if isinstance(value, float) and not math.isfinite(value):
        return "numbers must be finite"
    if not isinstance(value, list | dict):
        return None
    if depth >= DEEPEST:
        return f"it may be nested {DEEPEST} deep at most"
    if isinstance(value, list):
        items = cast("list[object]", value)
        return next((why for item in items if (why := value_fault(item, depth + 1))), None)
    for name, part in cast("dict[str, object]", value).items():
        if _text_fault(name) is not None:
            return f"the name {name!r} in it is wrong: {_text_fault(name)}"
        why = value_fault(part, depth + 1)
        if why is not None:
            return why if depth else f"in {name!r}, {why}"
    return None


def _text_fault(text: str) -> str | None:
    if "\0" in text:
        return "it may hold no NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it may hold only characters that UTF-8 can spell, so no half of a surrogate pair"
    return None


def shown(value: object) -> str:
    """A value as a sentence repeats it: never long, and never an error of its own."""
    if isinstance(value, int) and abs(value) > MOST:
        return f"a number of {value.bit_length()} bits"
    if value_fault(value) is not None and not isinstance(value, str | int | float):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


class Part(Frozen):
    """A part of a config: every value in it can be written down with the run."""

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_written_down(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, dict) and _part(cls, info.field_name or "") is not None:
            return cast("object", value)  # that part looks for itself, and names what is wrong
        why = value_fault(cast("object", value))
        if why is not None:
            raise ValueError(why)
        return cast("object", value)


def _part(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The part of that name, where the field is one."""
    annotation = model.model_fields[name].annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


class BudgetConfig(Part):
    """What a run may spend. None means no limit.

    Charged are attempts, the trials and replays of admission, and a model's tokens. Not charged
    are checking proposals, the random calls that lead into a replay, running two skills side by
    side for the duplicate check, carrying out a found plan once more for the record, and the
    closing comparison on held-out tasks, which measures the run.
    """

    attempts: int | None = Field(default=None, ge=0, le=MOST_COUNTED)
    steps: int | None = Field(default=None, ge=0, le=MOST_COUNTED)
    """Primitive environment steps."""
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tokens: int | None = Field(default=None, ge=0, le=MOST_COUNTED)
    usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class RetrievalConfig(Part):
    """What an attempt may be offered from the library."""

    k: int = Field(default=16, ge=0, le=MOST_COUNTED)
    floor: float = Field(default=0.05, ge=-1, le=1)
    """Items whose best similarity is below this are not offered: "none" is an answer."""
    tokens: int = Field(default=4000, ge=0, le=MOST_COUNTED)
    """Cap on the offered text, in tokens of four characters."""


class AdmissionConfig(Part):
    """What a candidate must show."""

    enabled: bool = True
    """False serves every candidate unchecked: an ablation, labelled as such."""
    replays: int = Field(default=5, ge=1, le=MOST_COUNTED)
    trials: int = Field(default=16, ge=2, le=MOST_COUNTED)
    """Practice tasks on which a candidate must prove useful, paired with and without."""
    trial_tool_calls: int = Field(default=500, ge=1, le=MOST_COUNTED)
    """Tool calls that each search of a trial may make."""
    approval: Literal["auto", "human"] = "auto"
    """Who lets in what passed every gate: nobody is asked, or it stays `verified` until a person
    approves or rejects it, while the run goes on without it."""
    wait: bool = False
    """Whether the run pauses at the end of a round until all that it made was decided on."""

    @model_validator(mode="after")
    def _only_a_person_is_waited_for(self) -> AdmissionConfig:
        if self.wait and self.approval != "human":
            raise ValueError("a run waits only for a person; set admission.approval to 'human'")
        return self


class AttributionConfig(Part):
    """How the effect of offering an item is measured."""

    start: float = Field(default=0.5, ge=0, le=1)
    floor: float = Field(default=0.1, ge=0, le=1)
    decided: int = Field(default=20, ge=2, le=MOST_COUNTED)
    """Draws after which the probability starts to fall."""


CHAT_KINDS = ("openai", "vllm", "local", "policy", "scripted")
"""How the name of a chat model begins; any other model is an executor that needs none."""
WITH_CHAT_MODEL = {
    "executor": "react",
    "proposer": "context",
    "curator": "skills",
    "insights": "alphaopt",
    "evaluator": "judge",
}
"""Roles of a run whose model is a chat model, where they are not named."""


def is_chat_model(name: str) -> bool:
    """Whether a model's name is that of a chat model, such as `openai:gpt-5`."""
    kind, colon, _ = name.partition(":")
    return bool(colon) and kind in CHAT_KINDS


class RoleConfig(Part):
    """The chat model of one role, where it differs from the run's, and what it may spend."""

    model: str = ""
    """Such as `openai:gpt-5`; empty is the run's."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=MOST_COUNTED)
    """Tokens that a reply may have; None leaves it to the strategy."""
    tokens: int | None = Field(default=None, ge=0, le=MOST_COUNTED)
    """Tokens of this role in the whole run."""
    usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class EndpointConfig(Part):
    """How chat models are reached. No key stands here: it is read from the environment."""

    base_url: str = ""
    """Empty is `OPENAI_BASE_URL`."""
    key_variable: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key."""
    concurrency: int = Field(default=64, ge=1, le=MOST_COUNTED)
    """Requests at a time."""
    timeout: float = Field(default=120.0, gt=0, le=1e6)
    """Seconds that a request may take."""
    cache: str = ""
    """A folder that keeps replies by content, for replays; empty keeps none."""
    schemas: bool = True
    """Whether endpoints may hold replies to a schema. Where they may not, the model is told it in
    words, and what it drew can be trained on by ratio."""
    prices: JsonObject = Field(default_factory=dict)
    """US dollars per million tokens by model, `{"m": {"input": 1.0, "output": 4.0}}`; outranks
    the table that ships."""


class ModelConfig(Part):
    """What is known of one chat model, under its name as configured: `[models."vllm:m"]`."""

    terms: str = ""
    """Under which its output may be trained on, such as `Apache-2.0`; empty is not known, and what
    it says is then exported for no training."""
    tokenizer: str = ""
    """Folder with its `tokenizer.json` and chat template: token ids are checked with it, and its
    digests go with each call."""


class ExportConfig(Part):
    """What a run writes for trainers as it goes, into `exports` of its directory."""

    formats: tuple[str, ...] = ()
    """Such as `trl-sft`, or `trl-sft:masked` for another view than the format's first; none
    writes nothing."""
    rounds: int = Field(default=0, ge=0, le=MOST_COUNTED)
    """After every so many rounds; 0 is never."""
    attempts: int = Field(default=0, ge=0, le=MOST_COUNTED)
    """After each round in which so many more practice attempts were completed; 0 is never."""
    only_new: bool = False
    """Rounds since the one before, and not all so far: for losses that want fresh attempts."""
    estimator: str = ""
    """Of advantages beside groups; none is written without."""
    judged: bool = False
    """Whether a judge's verdicts may label rows."""
    licence: str = ""
    """Under which what the environment shows may be passed on; goes with each row."""


class RolesConfig(Part):
    """Chat models by role."""

    proposer: RoleConfig = Field(default_factory=RoleConfig)
    executor: RoleConfig = Field(default_factory=RoleConfig)
    evaluator: RoleConfig = Field(default_factory=RoleConfig)
    stronger: RoleConfig = Field(default_factory=RoleConfig)
    """Asked where the evaluator's model disagrees with itself; none where no model is named."""
    curator: RoleConfig = Field(default_factory=RoleConfig)


BoxName = Literal["auto", "bubblewrap", "landlock", "docker", "e2b", "subprocess", "unsafe-local"]


class PracticeConfig(Part):
    """Everything that a practice run depends on.

    Example:
        >>> PracticeConfig(environment="courier", rounds=2, budget={"attempts": 40}).rounds
        2
    """

    environment: str = "babyai"
    environment_options: JsonObject = Field(default_factory=dict)
    model: str = "search"
    """A chat model, such as `openai:gpt-5`, or an executor that needs none, such as `search`."""
    executor: str = ""
    """How attempts are made; empty is the model itself, or `react` with a chat model."""
    executor_options: JsonObject = Field(default_factory=dict)
    """Options of the executor; those of what a wrapper wraps stand under `inner`."""
    seed: int = Field(default=0, ge=0, le=MOST)
    rounds: int = Field(default=5, ge=1, le=MOST_COUNTED)
    proposals: int = Field(default=100, ge=1, le=MOST_COUNTED)
    """Tasks proposed a round."""
    attempts: int = Field(default=100, ge=1, le=MOST_COUNTED)
    """Attempts a round."""
    group: int = Field(default=1, ge=1, le=MOST_COUNTED)
    """Attempts at each task that a round draws. Training compares attempts within such a group;
    practice itself learns most from many tasks."""
    tool_calls: int = Field(default=600, ge=1, le=MOST_COUNTED)
    """Tool calls an attempt may search with, in practice."""
    attempt_seconds: float = Field(default=120.0, gt=0, le=1e6)
    """Wall clock of an attempt, and of a candidate's replays; runs in which it strikes are not
    reproducible."""
    proposal_seconds: float = Field(default=900.0, gt=0, le=1e6)
    """Wall clock of a round's proposals, where a chat model makes them."""
    check_seconds: float = Field(default=20.0, gt=0, le=1e6)
    """A proposal that has not been checked by then, verifier included, is rejected."""
    concurrency: int = Field(default=0, ge=0, le=MOST_COUNTED)
    """Attempts at a time; 0 means one for each core."""
    proposer: str = "grammar"
    curriculum: str = "learning_progress"
    curator: str = "generalise"
    insights: str = "none"
    """What distils advice from attempts; `none` where no chat model is named."""
    evaluator: str = "verifier"
    judge_floor: float = Field(default=0.6, ge=-1, le=1)
    """Lower end of Cohen's kappa against the verifier from which a judge's verdict may admit
    items; see `agentlab evaluators calibrate`. 0.6 is where Landis and Koch's "substantial"
    begins."""
    trust_judge: bool = False
    """Let a judge admit items whatever its calibration says."""
    demonstrations: tuple[str, ...] = ()
    """Files of recordings: tasks are made of them, and skills where their attempts are learnt
    from. What was typed in them is recorded with the run."""
    compose: bool = True
    """Whether skills may call skills."""
    box: BoxName = "auto"
    """Where skill code runs; `auto` is the first that passes its self-test."""
    index: IndexName = "chroma"
    embedder: str = "lexical"
    heldout: int = Field(default=120, ge=0, le=MOST_COUNTED)
    """Held-out tasks for the closing comparison; 0 leaves it out."""
    heldout_tool_calls: int = Field(default=1000, ge=1, le=MOST_COUNTED)
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    endpoint: EndpointConfig = Field(default_factory=EndpointConfig)
    roles: RolesConfig = Field(default_factory=RolesConfig)
    models: dict[str, ModelConfig] = Field(default_factory=dict[str, ModelConfig])
    """By the name that `model` or a role gives them."""
    export: ExportConfig = Field(default_factory=ExportConfig)
    retrieval: RetrievalConfig = Field(default_factory=RetrievalConfig)
    advice: RetrievalConfig = Field(default_factory=lambda: RetrievalConfig(k=4, tokens=1500))
    """Retrieval of insights."""
    admission: AdmissionConfig = Field(default_factory=AdmissionConfig)
    attribution: AttributionConfig = Field(default_factory=AttributionConfig)

    @model_validator(mode="before")
    @classmethod
    def _roles_of_a_chat_model(cls, values: object) -> object:
        """Name the roles that a chat model plays, so that the written config says them."""
        if not isinstance(values, dict):
            return values
        given = cast("dict[str, object]", values)
        model = given.get("model")
        if not isinstance(model, str) or not is_chat_model(model):
            return given
        return {**WITH_CHAT_MODEL, **{k: v for k, v in given.items() if v != "" or k != "executor"}}

    @property
    def acting(self) -> str:
        """The executor's name."""
        return self.executor or self.model

    def chat_model(self, role: str) -> str:
        """The chat model of a role; empty where there is none."""
        own: RoleConfig = getattr(self.roles, role)
        if own.model or role == "stronger":
            return own.model
        return self.model if is_chat_model(self.model) else ""


def load_config(path: Path | None = None, **overrides: Any) -> PracticeConfig:
    """A config from a TOML file (optional) and overrides; None overrides are left out.

    Nested options are written with a dot: `**{"budget.attempts": 100}`.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is wrong.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                f"There is no config file {str(path)!r}; name one that is there, or leave it out."
            ) from None
        except RecursionError:
            raise ConfigError(
                f"The config file {str(path)!r} cannot be read: its values may be nested "
                f"{DEEPEST} deep at most."
            ) from None
        except (OSError, ValueError) as error:  # a number of too many digits is a plain ValueError
            raise ConfigError(f"The config file {str(path)!r} cannot be read: {error}.") from error
    for name, value in overrides.items():
        if value is None:
            continue
        target = values
        *parents, leaf = name.split(".")
        for parent in parents:
            inner = target.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"{parent!r} is given as {shown(inner)}, so {name!r} cannot be set in it."
                )
            target = cast("dict[str, Any]", inner)
        target[leaf] = value
    return parse_config(values, where=f"config file {str(path)!r}" if path else "the options")


def parse_config(values: Mapping[str, Any], where: str = "the options") -> PracticeConfig:
    """A config from plain data.

    Raises:
        ConfigError: a key is unknown or a value is wrong; one sentence that names the fix.
    """
    try:
        return PracticeConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        location = [str(part) for part in first["loc"]]
        name = ".".join(location)
        if first["type"] == "extra_forbidden":
            near = get_close_matches(location[-1], _keys(location[:-1]), n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"In {where}, {shown(name)} is not an option.{hint}") from None
        message = first["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        raise ConfigError(
            f"In {where}, {shown(name)} cannot be {shown(first['input'])}: {message}."
        ) from None


def _keys(parents: list[str]) -> list[str]:
    model: type[BaseModel] = PracticeConfig
    for parent in parents:
        part = _part(model, parent)
        if part is None:
            return []
        model = part
    return list(model.model_fields)
