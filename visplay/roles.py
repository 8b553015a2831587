"""The two roles that one VLM plays: every prompt, once, as chat messages through the processor's template."""

from collections.abc import Sequence

from PIL import Image

from rollouts.engine import Prompt

QUESTIONER_PROMPT = (
    "Look at the image and ask one question about it that takes reasoning to answer and that cannot be "
    "answered without the image. Choose one type: {types}. Reply in exactly this form: "
    "<type>the type</type><question>the question</question><answer>the answer</answer>"
)
REASONER_PROMPT = (
    "{question}\nLook at the image, think step by step, then put your final answer in \\boxed{{}}."
)


def questioner_prompt(image: Image.Image, *, types: Sequence[str], key: str = "") -> Prompt:
    """Ask the Questioner for one question about `image`, of one of `types`."""
    return _image_then_text(image, QUESTIONER_PROMPT.format(types=", ".join(types)), key=key)


def reasoner_prompt(image: Image.Image, question: str, *, key: str = "") -> Prompt:
    r"""Ask the Reasoner to answer `question` about `image` in \boxed{}."""
    return _image_then_text(image, REASONER_PROMPT.format(question=question), key=key)


def _image_then_text(image: Image.Image, text: str, *, key: str) -> Prompt:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return Prompt(messages=({"role": "user", "content": content},), images=(image,), key=key)
