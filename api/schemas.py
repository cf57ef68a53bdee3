"""What HTTP requests must look like, and what responses do look like.

Requests are validated against these models. Responses are documented by them and not validated on the way out, which
would cost every answer time; tests hold real responses against them instead, and no model lets an unknown member pass.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StrictBool, StrictInt

T = TypeVar("T")


def storable(text: str) -> str:
    """The text, if every database and tokenizer takes it. Raises ValueError where not."""
    if "\x00" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise ValueError("the text holds a NUL character or half of a surrogate pair")
    return text


Text = Annotated[str, AfterValidator(storable)]
AsOf = Annotated[
    StrictInt | Annotated[Text, Field(max_length=64)] | None,
    Field(description="A snapshot's number, or an ISO 8601 moment for what was live then. Default: the live one."),
]
TopK = Annotated[StrictInt | None, Field(description="Passages to retrieve, 1 to 100. Default: the setting top_k.")]


class Strict(BaseModel):
    """No unknown members."""

    model_config = ConfigDict(extra="forbid")


# --- Requests -------------------------------------------------------------------------------------------------------


class QueryRequest(Strict):
    """A question to answer."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"question": "How long are backups kept?", "top_k": 10, "as_of": None}]},
    )

    question: Annotated[Text, Field(description="The question, in words.")]
    top_k: TopK = None
    as_of: AsOf = None
    prompt: Annotated[Text | None, Field(max_length=200, description="`name` or `name@label` of a prompt.")] = None
    session: Annotated[Text | None, Field(max_length=200, description="A name that ties questions together.")] = None
    stakes: Annotated[
        Literal["low", "medium", "high"] | None,
        Field(description="How much hangs on the answer; the policy may hold it for more."),
    ] = None
    inputs: Annotated[
        dict[str, JsonValue], Field(description="Inputs that the prompt declares besides the question.")
    ] = Field(default_factory=dict)
    stream: Annotated[StrictBool, Field(description="Not offered in this release: must be false.")] = False


class RetrieveRequest(Strict):
    """A question to find passages for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"question": "How long are backups kept?", "explain": True},
                {"question": "How long are backups kept?", "why_not": "doc_4jntcujoxi6fvfmohek4gm7zfq"},
            ]
        },
    )

    question: Annotated[Text, Field(description="The question, in words.")]
    top_k: TopK = None
    as_of: AsOf = None
    explain: Annotated[
        StrictBool, Field(description="Also give each signal of a passage and what it adds to the score.")
    ] = False
    why_not: Annotated[
        Text | None, Field(max_length=200, description="Id of a document: also tell why it did not come up.")
    ] = None


class SourceRequest(Strict):
    """A file or folder on the server's machine to keep in the workspace."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"path": "/srv/handbook", "name": "handbook"}]}
    )

    path: Annotated[Text, Field(min_length=1, max_length=4096, description="An absolute path on the server.")]
    name: Annotated[
        Text | None, Field(min_length=1, max_length=200, description="Name of the source. Default: its path.")
    ] = None


Reason = Annotated[Text, Field(max_length=2000, description="Why; recorded in the ledger. Do not name a person.")]
Ids = Annotated[list[Annotated[Text, Field(min_length=1, max_length=64)]], Field(max_length=1000)]


class ErasureRequest(Strict):
    """What to erase, for good."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"documents": ["doc_…"], "reason": "…"}]})

    documents: Annotated[Ids, Field(description="Ids of documents.")] = []
    principals: Annotated[Ids, Field(description="People, by the ids of their keys.")] = []
    answers: Annotated[Ids, Field(description="Ids of answers.")] = []
    reason: Reason = ""
    dry_run: Annotated[StrictBool, Field(description="Only say what would be erased.")] = False


class HoldRequest(Strict):
    """A legal hold to place."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"scope": "source", "value": "contracts", "reason": "…"}]}
    )

    scope: Annotated[
        Literal["document", "source", "principal", "answer", "all"], Field(description="What kind of thing is held.")
    ]
    value: Annotated[Text, Field(max_length=4096, description="Its id (of a source: its name); empty for all.")] = ""
    reason: Annotated[Text, Field(min_length=1, max_length=2000, description="Why; recorded in the ledger.")]


class ReleaseRequest(Strict):
    """Why a hold ends."""

    reason: Reason = ""


class RetentionRequest(Strict):
    """Rules to apply now."""

    days: Annotated[
        StrictInt | None, Field(ge=1, le=36500, description="Days that answers are kept; default: the rules in force.")
    ] = None
    dry_run: Annotated[StrictBool, Field(description="Only say what would expire.")] = False


class KeyRequest(Strict):
    """An API key to make."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"role": "app", "name": "intranet", "groups": ["hr"]}]}
    )

    role: Annotated[
        Literal["app", "editor", "reviewer", "admin"],
        Field(
            description="app: ask; editor: also write prompts; reviewer: also read every answer, and decide; "
            "admin: everything."
        ),
    ]
    name: Annotated[Text, Field(max_length=128, description="What the key is for.")] = ""
    groups: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=128)]] | None,
        Field(max_length=100, description="Groups whose documents the key may see, beside those for everyone."),
    ] = None
    all_groups: Annotated[
        StrictBool | None, Field(description="See every document. Default: true for admins without groups.")
    ] = None
    expires_at: Annotated[AwareDatetime | None, Field(description="When the key ends by itself; with a time zone.")] = (
        None
    )


class ReplayRequest(Strict):
    """How to make an answer again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"current": False}]})

    current: Annotated[
        StrictBool, Field(description="Answer with today's documents, prompt and model, and name what changed.")
    ] = False


class ImpactRequest(Strict):
    """One thing to find the dependents of, and what to do with it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"document": "doc_4jntcujoxi6fvfmohek4gm7zfq"},
                {"source": "handbook", "withdraw": True, "reason": "superseded by the new contract"},
            ]
        },
    )

    document: Annotated[Text | None, Field(max_length=64, description="Id of a document.")] = None
    revision: Annotated[Text | None, Field(max_length=80, description="A revision, `DOCUMENT:NUMBER`.")] = None
    source: Annotated[Text | None, Field(max_length=4096, description="Name of a source.")] = None
    entity: Annotated[Text | None, Field(max_length=1000, description="A name that documents use.")] = None
    prompt: Annotated[Text | None, Field(max_length=200, description="A prompt, `NAME@VERSION` or `NAME`.")] = None
    limit: Annotated[StrictInt, Field(ge=1, le=200, description="Items of one page, at most.")] = 20
    part: Annotated[
        Literal["chunks", "edges", "snapshots", "answers"] | None,
        Field(description="Only a page of these; `cursor` goes on after a page."),
    ] = None
    cursor: Annotated[StrictInt | None, Field(ge=0, le=2**62, description="`next_cursor` of the part's page.")] = None
    withdraw: Annotated[StrictBool, Field(description="Hide the documents from every question from now on.")] = False
    restore: Annotated[StrictBool, Field(description="Show withdrawn documents again.")] = False
    reask: Annotated[StrictBool, Field(description="Ask up to `limit` stale questions again, as who asked them.")] = (
        False
    )
    reason: Annotated[Text, Field(max_length=2000, description="Why; needed to withdraw or restore.")] = ""

    @property
    def named(self) -> dict[str, str | None]:
        """What the request names, by kind."""
        return {kind: getattr(self, kind) for kind in ("document", "revision", "source", "entity", "prompt")}


class PolicyRequest(Strict):
    """A version of the policy to store."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "format: 1\nname: ours\n", "message": "Begin with no rules."}]},
    )

    text: Annotated[Text, Field(min_length=1, max_length=262_144, description="The policy file, YAML.")]
    message: Annotated[Text, Field(min_length=1, max_length=2000, description="What it changes, and why.")]


class PolicyCheckRequest(Strict):
    """A policy to check without storing it."""

    text: Annotated[Text, Field(min_length=1, max_length=262_144, description="The policy file, YAML.")]
    question: Annotated[Text | None, Field(max_length=100_000, description="A question to try its input rules on.")] = (
        None
    )
    stakes: Literal["low", "medium", "high"] | None = None


Said = Annotated[Text, Field(max_length=20_000)]


class AssignRequest(Strict):
    """Who a review is given to."""

    key: Annotated[Text, Field(min_length=1, max_length=40, description="Id of a key of role reviewer or admin.")]


class CommentRequest(Strict):
    """A comment on a review."""

    text: Annotated[Said, Field(min_length=1)]


class ApproveRequest(Strict):
    """An approval."""

    comment: Said = ""
    text_of: Annotated[
        Text | None, Field(max_length=40, description="`text_of` of the review as it was read: 409 if changed since.")
    ] = None
    seen: Annotated[
        Text | None,
        Field(
            pattern=r"^[0-9a-f]{12,64}$",
            description="`payload_sha256` of what a run asks, as it was read or previewed.",
        ),
    ] = None
    values: Annotated[
        dict[str, JsonValue], Field(description="Of what a run asks: members of the form that differ from the draft.")
    ] = Field(default_factory=dict)


class EditRequest(Strict):
    """A text to put in an answer's place; passages are cited as `[c1]`, in the order in which the answer had them."""

    text: Annotated[Said, Field(min_length=1)]
    comment: Said = ""


class RejectRequest(Strict):
    """A rejection; the asker is told the reason."""

    reason: Annotated[Said, Field(min_length=1)]


# --- Answers --------------------------------------------------------------------------------------------------------


class Support(Strict):
    """How far the cited quotes carry a sentence: `score` is the probability that they support it.

    `judge` only where a language model was asked: `used`, or `failed: ` and why.
    """

    label: Literal["supported", "contradicted", "not_found"]
    score: float
    judge: str | None = None


class AnswerSentence(Strict):
    """A sentence of the answer: `[start, end)` in it."""

    start: int
    end: int
    text: str
    citations: list[str]
    support: Support


class PathStep(Strict):
    """A step of how the graph reached a passage."""

    entity: str | None = None
    relation: str | None = None
    chunk_id: str | None = None


class Notice(Strict):
    """A warning about a document's standing."""

    document_id: str
    kind: str
    by: str | None
    chunk_id: str
    quote: str


class Citation(Strict):
    """Where a sentence came from: `quote` equals `[start, end)` of that revision's text."""

    id: str
    document_id: str
    external_id: str | None
    revision: int
    title: str
    uri: str
    page: int | None
    chunk_id: str
    start: int
    end: int
    quote: str
    quote_sha256: str
    path: list[PathStep]
    notices: list[Notice]


class Conflict(Strict):
    """Two citations that say different things about the same matter."""

    citations: Annotated[list[str], Field(min_length=2, max_length=2)]
    reason: str


class RerankerInfo(Strict):
    """What the reranker did; `state` is `used`, or `failed: ` and why, and then the order is Vouch's own."""

    model: str
    state: str


class DecomposerInfo(Strict):
    """The sub-questions that were searched for as well; `state` is `used`, or `failed: ` and why."""

    model: str
    state: str
    parts: list[str]


class RetrievalInfo(Strict):
    """What the answer was retrieved from; `reranker` and `decomposer` only where they are on."""

    snapshot: int
    as_of: int | None
    candidates: int
    used: int
    reranker: RerankerInfo | None = None
    decomposer: DecomposerInfo | None = None


class PromptInfo(Strict):
    """The prompt that was rendered, pinned by its hash."""

    name: str
    version: int
    sha256: str
    label: str
    experiment: Annotated[str | None, Field(description="What drew the version, if an experiment did.")] = None
    arm: str | None = None


class ModelDescription(Strict):
    """The model that wrote the answer."""

    provider: str
    name: str
    parameters: dict[str, Any]


class Usage(Strict):
    """What the model used."""

    prompt_tokens: int
    completion_tokens: int
    cost: float | None


class LedgerPlace(Strict):
    """Where the record of the answer stands."""

    index: int
    leaf_sha256: str


class StaleMark(Strict):
    """A withdrawal of what an answer stood on: `leaf` is its entry in the ledger."""

    since: str
    document_ids: list[str]
    leaf: int
    reason: Annotated[str | None, Field(description="Missing where none was given, or it was erased.")] = None


class PolicyVerdict(Strict):
    """What a rule of the policy said, of those that said anything but `pass`."""

    rule: str
    stage: Literal["input", "context", "output"]
    verdict: Literal["note", "drop", "review", "refuse", "abstain"]
    detail: str


class PolicyInfo(Strict):
    """The policy that the answer was judged by; version 0 came with the program."""

    version: int
    sha256: str
    verdicts: list[PolicyVerdict]


class ReviewState(Strict):
    """How the review of an answer stands."""

    id: str
    state: Literal["open", "approved", "edited", "rejected", "expired"]
    deadline: str


class Opinion(Strict):
    """What somebody said of an answer. `by` is empty where that was erased."""

    answer_id: str
    score: float
    comment: str
    labels: list[str]
    by: str
    ledger_index: int
    created_at: str


class FeedbackSummary(Strict):
    """What was said of an answer: the last word of each person. `opinions` are one's own, or all for overseers."""

    mean: float
    count: int
    opinions: list[Opinion]


class Answer(Strict):
    """An answer with its citations and the place of its record. `review` only where there is one; `under_review` where
    something that it stood on was withdrawn and nobody has looked at it yet."""

    id: str
    status: Literal["answered", "partial", "abstained", "pending_review", "failed", "erased"]
    reason: str | None
    question: str
    answer: str
    confidence: float
    sentences: list[AnswerSentence]
    citations: list[Citation]
    conflicts: list[Conflict]
    notices: list[Notice]
    retrieval: RetrievalInfo
    policy: PolicyInfo | None = None
    review: ReviewState | None = None
    under_review: bool | None = None
    prompt: PromptInfo
    model: ModelDescription
    usage: Usage
    timings_ms: dict[str, float]
    created_at: str
    ledger: LedgerPlace
    stale: Annotated[
        list[StaleMark] | None,
        Field(description="Only where the answer stood on something that is withdrawn now, and only when it is read."),
    ] = None
    feedback: Annotated[
        FeedbackSummary | None, Field(description="Only where somebody gave some, and only when it is read.")
    ] = None


class ReplayStage(Strict):
    """A stage of an answer: whether it came out as recorded. The hashes are over canonical JSON."""

    stage: str
    identical: bool
    sha256: str
    replayed_sha256: str
    difference: str | None


class FreshReply(Strict):
    """What the configured model replies to the same prompt now, or the error that kept it from replying."""

    model: ModelDescription | None
    reply: str | None
    error: str | None
    same: bool
    diff: list[str]


class Replay(Strict):
    """An answer made again from what its record pins."""

    id: str
    identical: bool
    stages: list[ReplayStage]
    reasons: Annotated[list[str], Field(description="What could have made the difference, where there is one.")]
    pinned: dict[str, Any]
    fresh: FreshReply | None


class Change(Strict):
    """Something that is not as it was when an answer was made."""

    kind: Literal["document", "snapshot", "prompt", "model", "ranking", "settings", "policy"]
    words: str
    document_id: str | None = None
    title: str | None = None
    change: Literal["withdrawn", "hidden", "gone", "revised", "outranked", "added", "risen"] | None = None
    cited: bool | None = None
    sections: Annotated[
        dict[str, list[str]] | None,
        Field(description="Of a prompt: each section that changed, with its lines for all but role app."),
    ] = None


class TodayAnswer(Strict):
    """A past answer beside the one of today."""

    id: str
    same: bool
    recorded: dict[str, Any]
    current: dict[str, Any]
    changes: list[Change]
    diff: list[str]


class ListedAnswer(Strict):
    """An answer in an impact or a query: `index` is its place in the ledger, `prompt` its `NAME@VERSION`."""

    id: str
    index: int
    created_at: str
    status: str
    question: str
    principal: str
    snapshot: int
    prompt: str
    model: str
    confidence: float
    stale: bool
    cited: Annotated[
        bool | None, Field(description="Only in an impact: whether it cites the thing or only read it.")
    ] = None


class ImpactChunk(Strict):
    """A passage that belongs to the thing, or names it."""

    chunk_id: str
    document_id: str
    revision: int
    start: int
    end: int


class ImpactEdge(Strict):
    """A typed relation that the thing states, or is an end of."""

    subject: str
    predicate: str
    object: str
    chunk_id: str
    start: int
    end: int


class SnapshotNumber(Strict):
    """A snapshot that shows the thing."""

    number: int


class ImpactPart(Strict, Generic[T]):
    """Dependents of one kind; `count` and what follows are there in the whole report alone."""

    items: list[T]
    next_cursor: int | None
    count: int | None = None
    cited: int | None = None
    context_only: int | None = None


class Reasked(Strict):
    """A question that was asked again: `also` are older answers to the same, `diff` the sentences that differ."""

    answer_id: str
    also: list[str]
    question: str
    new_id: str | None
    error: str | None
    status: list[str] | None = None
    same: bool
    diff: list[str]


class Withdrawal(Strict):
    """A withdrawal or restoration of documents: `leaf` is its entry in the ledger."""

    leaf: int
    documents: list[str]
    stale_answers: int | None = None
    reason: str


class ImpactOf(Strict):
    """The thing that was asked for."""

    kind: Literal["document", "revision", "source", "entity", "prompt"]
    name: str


class ImpactAnswer(Strict):
    """What depends on a thing, or one page of a part of it."""

    of: ImpactOf | None = None
    withdrawn: Annotated[int | None, Field(description="Documents of it that are withdrawn now.")] = None
    chunks: ImpactPart[ImpactChunk] | None = None
    edges: ImpactPart[ImpactEdge] | None = None
    snapshots: ImpactPart[SnapshotNumber] | None = None
    answers: ImpactPart[ListedAnswer] | None = None
    runs: Annotated[dict[str, int] | None, Field(description="Runs that used it; an answer is one run.")] = None
    withdrawal: Withdrawal | None = None
    restoration: Withdrawal | None = None
    reasked: list[Reasked] | None = None


class QueryParameter(Strict):
    """A parameter of a lineage query."""

    name: str
    about: str
    required: bool


class LineageQuery(Strict):
    """A fixed query; `lists` says what its items are."""

    name: str
    about: str
    lists: Literal["answers", "approvals", "documents", "nodes", "events"]
    parameters: list[QueryParameter]


class LineagePage(Strict):
    """A page of a lineage query."""

    query: str
    lists: str
    items: list[dict[str, Any]]
    next_cursor: str | None


class AnswerSummary(Strict):
    """A past answer as a listing shows it."""

    id: str
    status: str
    question: str
    answer: str
    confidence: float
    snapshot: int
    index: int
    created_at: str


class Policy(Strict):
    """A version of the policy. Versions below 1 came with the program; one that no answer used yet has no moment."""

    version: int
    sha256: str
    in_force: bool
    author: str
    message: str
    created_at: str | None


class PolicyText(Policy):
    """A version of the policy with its text."""

    text: str


class PolicyCounts(Strict):
    """How many rules there are of each stage."""

    input: int
    context: int
    output: int


class TriedVerdict(Strict):
    """What an input rule says of a question."""

    rule: str
    stage: Literal["input"]
    verdict: Literal["pass", "note", "review", "refuse"]
    detail: str


class TriedQuestion(Strict):
    """What a policy makes of a question; `refused` is what its asker would read."""

    topics: list[str]
    stakes: Literal["low", "medium", "high"]
    refused: str | None
    verdicts: list[TriedVerdict]


class CheckedPolicy(Strict):
    """A policy that is valid."""

    ok: bool
    name: str
    sha256: str
    rules: PolicyCounts
    question: TriedQuestion | None = None


class Review(Strict):
    """A review: `reason` is policy, or withdrawn; `approvals` is how many people must approve."""

    id: str
    answer_id: str
    reason: str
    state: Literal["open", "approved", "edited", "rejected", "expired"]
    approvals: int
    assignee: str | None
    deadline: str
    decided_at: str | None
    created_at: str


class ReviewStep(Strict):
    """Something that was done with a review; `index` is its place in the ledger."""

    index: int
    kind: Literal["opened", "assigned", "commented", "approved", "edited", "rejected", "expired"]
    actor: str
    created_at: str
    comment: str | None = None
    reason: str | None = None
    assignee: str | None = None


class ReviewDetail(Review):
    """A review with the recorded answer, the last edit if any, and every step."""

    answer: dict[str, Any]
    edit: dict[str, Any] | None
    text_of: str
    events: list[ReviewStep]


class LedgerKey(Strict):
    """The public key of the ledger, `NAME+ID+BASE64` (a C2SP verifier key)."""

    key: str
    name: str


class LedgerEntry(Strict):
    """An entry of the ledger. `sha256` is the RFC 9162 leaf hash of `leaf`, which is canonical JSON."""

    number: int
    kind: str
    subject: str
    created_at: str
    facts: dict[str, Any]
    sha256: str
    leaf: str


class Consistency(Strict):
    """Hex hashes which show that the tree of `to` entries begins with that of `from`."""

    older: int = Field(alias="from")
    newer: int = Field(alias="to")
    consistency: list[str]


class AnswerProof(Strict):
    """Proof that an answer is entry `index` of the tree that `checkpoint` signs. `salt` and `payload` are null where
    the record was erased, or is a draft that was not released to the key that asks.
    """

    answer_id: str
    index: int
    leaf: str
    size: int
    inclusion: list[str]
    checkpoint: str
    key: str
    salt: str | None
    payload: str | None


class AuditReport(Strict):
    """Counts over the record; see the reviewer's guide."""

    scope: dict[str, str | None]
    ledger: dict[str, Any]
    completeness: dict[str, Any]
    adherence: dict[str, Any]
    retention: dict[str, Any]
    time_to_audit: dict[str, Any]


class Passage(Strict):
    """A retrieved passage. Only with `explain`: `signals`, and in `contributions` what each adds to the score."""

    chunk_id: str
    document_id: str
    external_id: str | None
    revision: int
    source: str
    title: str
    uri: str
    heading: list[str]
    text: str
    start: int
    end: int
    page: int | None
    score: float
    path: list[PathStep]
    notices: list[Notice]
    duplicate_of: str | None
    signals: dict[str, float] | None = None
    contributions: dict[str, float] | None = None


class SignalPlace(Strict):
    """A passage within one signal: its score and rank among all passages (null: not reached), and whether that was
    enough to become a candidate; `needed` is the score of the weakest one that was."""

    name: Literal["dense", "lexical", "named_walk", "meant_walk"]
    score: float
    rank: int | None
    needed: float | None
    taken: bool


class QuestionWord(Strict):
    """A word of the question and how rare it is among the passages."""

    word: str
    rarity: float


class QuestionWords(Strict):
    """The question's words that a passage holds, those that it lacks, and those that no passage holds."""

    held: list[QuestionWord]
    lacked: list[QuestionWord]
    unknown: list[str]


class QuestionEntities(Strict):
    """The names in the question that a passage holds, and those that it lacks."""

    held: list[str]
    lacked: list[str]


class JudgedPassage(Strict):
    """The best passage of the document for the question; `candidate`: some signal found it."""

    chunk_id: str
    revision: int
    uri: str
    start: int
    end: int
    page: int | None
    text: str
    heading: list[str]
    candidate: bool
    signals: list[SignalPlace]
    words: QuestionWords
    entities: QuestionEntities
    path: list[PathStep]


class Shortfall(Strict):
    """A feature of the document's passage and of the `other` one, and how much score lies between them for it."""

    name: str
    meaning: str
    value: float
    other: float
    cost: float


class LastShown(Strict):
    """The last passage that is shown, and what it is ahead by, most first."""

    rank: int
    chunk_id: str
    document_id: str
    title: str
    features: list[Shortfall]


class WhyNot(Strict):
    """How far a document came. `rank`: of its best candidate; `would_rank`: of its best passage, were all of them
    candidates; `shown` passages of `candidates` are in the results."""

    document_id: str
    title: str
    verdict: Literal["shown", "ranked lower", "no candidate", "no passages"]
    reasons: list[str]
    rank: int | None
    would_rank: int | None
    candidates: int
    shown: int
    passage: JudgedPassage | None
    behind: LastShown | None
    notices: list[Notice]


class Retrieval(Strict):
    """Passages, best first; `why_not` only where the request named a document, `reranker` and `decomposer` only where
    they are on."""

    results: list[Passage]
    snapshot: int
    timings_ms: dict[str, float]
    why_not: WhyNot | None = None
    reranker: RerankerInfo | None = None
    decomposer: DecomposerInfo | None = None


# --- Documents and administration -----------------------------------------------------------------------------------


class Document(Strict):
    """A document at the revision that the asked snapshot sees. `groups` of null: everyone may see it."""

    id: str
    source: str
    path: str
    external_id: str | None
    title: str
    uri: str
    status: Literal["ok", "failed"]
    reason: str | None
    revision: int
    media_type: str
    length: int
    content_sha256: str
    chunks: int
    groups: list[str] | None
    created_at: str


class DocumentText(Strict):
    """The canonical text of a revision: what the offsets of citations count in."""

    document_id: str
    revision: int
    text: str
    text_sha256: str


class Source(Strict):
    """A source and how many live documents it has."""

    id: int
    name: str
    location: str
    created_at: str
    documents: int


class Job(Strict):
    """Accepted work and how far it is."""

    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed"]
    input: dict[str, Any]
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    created_at: str
    updated_at: str


class Snapshot(Strict):
    """A published state of all documents. Keys that may not see every document get null for reason and documents."""

    number: int
    parent: int
    reason: str | None
    documents: int | None
    created_at: str
    live: bool


class LiveSnapshot(Strict):
    """Which snapshot is live now."""

    live: int


class Key(Strict):
    """An API key, without its secret. `groups` of null: every document."""

    id: str
    name: str
    role: Literal["app", "editor", "reviewer", "admin"]
    groups: list[str] | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class NewKey(Key):
    """A key that was just made. `key` is shown this once; a repetition of the request gets null."""

    key: str | None


class Erasure(Strict):
    """An erasure or expiry. `certificate` says, when `state` is done, what was searched and removed, and proves that
    the ledger still holds; it never holds what was erased."""

    id: str
    kind: Literal["erasure", "retention.expired"]
    state: Literal["running", "done"]
    entry: int
    created_at: str
    certificate: dict[str, Any]


class ErasureReach(Strict):
    """What an erasure would reach."""

    documents: int
    revisions: int
    chunks: int
    answers: int
    entries: int
    principals: int
    sources: int
    uploads: int
    kept: Annotated[dict[str, int], Field(description="Entries that name a person and stay, by kind.")]
    backups: Annotated[list[str], Field(description="Backups whose keys would be destroyed.")]


class Hold(Strict):
    """A legal hold. `placed` and `released` are entries of the ledger."""

    id: str
    scope: Literal["document", "source", "principal", "answer", "all"]
    value: str
    reason: str | None
    placed: int
    released: int | None
    created_at: str


class RetentionState(Strict):
    """How long answers are kept, what would expire now, and what was let expire (`applied`)."""

    answers_days: int | None
    kept: dict[str, Any]
    before: str | None
    due: int
    held: Annotated[dict[str, str], Field(description="Answers that a hold keeps, and the hold.")]
    applied: Erasure | None = None


# --- The graph ------------------------------------------------------------------------------------------------------


class Entity(Strict):
    """A name that passages use, and how many do."""

    id: str
    name: str
    passages: int


class EntityRelation(Strict):
    """A typed relation, stated at `[start, end)` of the chunk that supports it."""

    subject: Entity
    predicate: str
    object: Entity
    chunk_id: str
    start: int
    end: int


class EntityDetail(Entity):
    """An entity with its other names, relations and passages."""

    aliases: list[Entity]
    relations: list[EntityRelation]
    chunks: list[str]


class Neighbour(Entity):
    """An entity named in the same passages."""

    strength: float
    together: int
    chunks: list[str]


class PathElement(Strict):
    """An entity of a path, or the passage that ties the entities on either side of it."""

    entity: Entity | None = None
    relation: str | None = None
    chunk_id: str | None = None


class EntityPath(Strict):
    """A shortest path between two entities."""

    path: list[PathElement]


class Page(Strict, Generic[T]):
    """One page of a listing."""

    items: list[T]
    next_cursor: Annotated[str | None, Field(description="Send as `cursor` for the next page; null on the last.")]


# --- Health and refusals --------------------------------------------------------------------------------------------


class Live(Strict):
    """The process answers."""

    live: bool


class Ready(Strict):
    """Whether questions can be answered, and what stands in the way."""

    ready: bool
    checks: dict[str, str]


class FieldError(Strict):
    """A field at fault."""

    loc: list[str | int]
    msg: str


class Problem(Strict):
    """A refusal or failure (RFC 9457). `type` is stable; `instance` names the request in the server's log."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[FieldError] | None = None
