r"""The section `prompts`: the prompts of the two roles, which a configuration may replace.

The answer is read from the place that the Reasoner's prompt names: `\boxed{}` or `<answer>` tags. The
Questioner's completion is read from its three tags under every prompt.
"""

from typing import Self

from pydantic import field_validator, model_validator

from rewards.parsing import QUESTION_TAGS, AnswerForm, type_key
from visplay.config.sections import Section

QUESTIONER = (
    "Look at the image and ask one question about it that takes reasoning to answer and that cannot be "
    "answered without the image. Choose one type: {types}. Reply in exactly this form: "
    "<type>the type</type><question>the question</question><answer>the answer</answer>"
)
REASONER = "{question}\nLook at the image, think step by step, then put your final answer{form} in \\boxed{}."
JUDGE = "Can the question {question!r} be answered with certainty from the image alone, yes or no?"
# By question type, what form its answer takes; what type a benchmark's rule is of is in `evaluation.prompts`.
FORMS = {
    "multiple choice": "the letter of one option",
    "numerical": "a number",
    "yes/no": "yes or no",
    "short answer": "a few words",
}


class Prompts(Section):
    """Prompts of the two roles."""

    system: str = ""
    """System turn of both roles; empty: no system turn."""
    questioner: str = QUESTIONER
    """Prompt of the Questioner; `{types}` is replaced by the question types."""
    reasoner: str = REASONER
    """Prompt of the Reasoner; `{question}` is replaced by the question, `{form}` by the answer's form."""
    judge: str = JUDGE
    """What the shipped judges ask, in the Reasoner's words; `{question!r}` stands for the question in
    quotes."""
    forms: dict[str, str] = FORMS
    """Form of an answer by question type; empty: the prompt does not mention it."""

    @property
    def answer_form(self) -> AnswerForm:
        """Where the Reasoner's answer is read."""
        return "boxed" if "\\boxed" in self.reasoner else "tagged"

    def form_of(self, kind: str) -> str:
        """The form of an answer to a question of this type; empty if the prompt does not mention it."""
        said = {type_key(name): form for name, form in self.forms.items()}
        return said.get(type_key(kind), "") if kind else ""

    @field_validator("questioner")
    @classmethod
    def _names_its_tags(cls, text: str) -> str:
        missing = [tag for tag in QUESTION_TAGS if f"<{tag}>" not in text or f"</{tag}>" not in text]
        if missing or "{types}" not in text:
            what = [f"<{tag}>...</{tag}>" for tag in missing] + ["{types}"] * ("{types}" not in text)
            raise ValueError(f"must hold {', '.join(what)}: that is what is read, or filled in")
        return text

    @field_validator("judge")
    @classmethod
    def _asks_about_the_question(cls, text: str) -> str:
        try:
            shown = text.format(question="What is it?")
        except (LookupError, ValueError, AttributeError) as error:
            raise ValueError(f"only {{question}} can be filled in ({error})") from error
        if "What is it?" not in shown:
            raise ValueError("must hold {question}, where the question stands")
        return text

    @model_validator(mode="after")
    def _asks_for_an_answer(self) -> Self:
        if "{question}" not in self.reasoner:
            raise ValueError("prompts.reasoner must hold {question}, where the question stands")
        if "\\boxed" not in self.reasoner and "<answer>" not in self.reasoner:
            raise ValueError(
                "prompts.reasoner must ask for the answer in \\boxed{} or in <answer></answer>: "
                "that is what is read"
            )
        return self
