"""Rows made for the tests, faithful to each benchmark's schema, oddities included; gold checked by hand."""

import io
from typing import Any

from PIL import Image


def png(shade: int = 120, size: tuple[int, int] = (8, 6)) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


NONE7: dict[str, Any] = {f"image_{i}": None for i in range(1, 8)}
MMMU: dict[str, Any] = {**NONE7, "image_1": png(10)}
TEN = "['a cat', 'a dog', 'a cow', 'a hen', 'a fox', 'an owl', 'a rat', 'a bat', 'an ant', 'a bee']"
DIRECT = "\nPlease answer directly with only the letter of the correct option and nothing else."
WORD = "\nPlease answer directly with a single word or number."
WO = (
    "Please directly answer the question and provide the correct option letter, e.g., A, B, C, D.\nQuestion: "
)
FREE = "Please directly answer the question and provide the final value, e.g., 1, 2.5, 300.\nQuestion: "
SEEN = "According to the question shown in the image, please directly answer the question and provide the "

# benchmark -> rows; each row with: gold rule, gold answers, (right boxed answers), (wrong ones)
ROWS: dict[str, list[tuple[dict[str, Any], str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]]] = {
    "mmmu": [
        ({**MMMU, "id": "validation_Art_1", "question": "Who painted <image 1>?", "answer": "B",
          "options": "['Monet', \"Van Gogh's brother\", 'Degas']", "question_type": "multiple-choice"},
         "choice", ("B",), ("B", "(b)", "Van Gogh's brother"), ("A", "Monet", "Van Gogh")),
        ({**MMMU, "image_2": png(20), "id": "validation_Math_2", "question": "Which graph fits <image 1>?",
          "options": "['<image 1>', '<image 2>']", "answer": "B", "question_type": "multiple-choice"},
         "choice", ("B",), ("B", "<image 2>", "image 2"), ("A", "<image 1>")),
        ({**MMMU, "id": "validation_Math_3", "question": "Find R in <image 1>.", "options": "[]",
          "answer": "['24/7', '3.429']", "question_type": "open"},
         "open", ("24/7", "3.429"), ("24/7", "3.43", "\\frac{24}{7}"), ("24", "3.4", "7/24")),
        ({**MMMU, "id": "validation_Basic_Medical_Science_4", "question": "Name it <image 1>",
          "options": "[]",
          "answer": "Glycolysis", "question_type": "open"},
         "open", ("Glycolysis",), ("glycolysis",), ("lysis", "A")),
    ],
    "mmmu_pro_standard": [
        ({**MMMU, "id": "test_Art_1", "question": "Which animal is in <image 1>?", "options": TEN,
          "answer": "J", "subject": "Art"},
         "choice", ("J",), ("J", "a bee", "bee"), ("A", "ant", "wasp", "K")),
    ],
    "mmmu_pro_vision": [
        ({"id": "test_Art_1", "image": png(), "options": TEN, "answer": "C", "subject": "Art"},
         "choice", ("C",), ("C", "a cow"), ("A", "cat")),
    ],
    "mm_vet": [
        ({"question_id": "v1_0", "image": png(), "question": "What is x?", "capability": "ocr,math",
          "answer": "-1<AND>-5"}, "judge", ("-1<AND>-5",), (), ()),
        ({"question_id": "v1_1", "image": png(), "question": "Which plane?", "capability": "rec",
          "answer": "Boeing 787<OR>787"}, "judge", ("Boeing 787", "787"), (), ()),
    ],
    "realworldqa": [
        ({"image": png(), "question": "Where does the car go?\n\nA. Left\nB. Straight\nC. Right" + DIRECT,
          "answer": "C"}, "choice", ("C",), ("C", "c", "Right"), ("A", "left", "Straight")),
        ({"image": png(), "question": "How many cars are there?" + WORD, "answer": "3"},
         "open", ("3",), ("3", "three", "3 cars"), ("2", "C")),
        ({"image": png(), "question": "Is the light green?" + WORD, "answer": "Yes"},
         "open", ("Yes",), ("yes", "Yes, it is"), ("no",)),
        ({"image": png(), "question": "Which side?\nA. left\nB. right" + DIRECT, "answer": "b"},
         "choice", ("B",), ("B", "b"), ("A",)),  # the gold letter is small
    ],
    "visnumbench": [
        ({"class": "synthetic", "id": "7", "question": "What angle?",
          "option": "['30°', '60°', '90°', '120°']",
          "answer": "B", "task_class": "Range", "Attributes": "angle", "image": png()},
         "choice", ("B",), ("B", "60", "60^{\\circ}"), ("A", "30", "120")),
        ({"class": "real", "id": "7", "question": "How many?", "option": "A. 1\nB. 2\nC. 3\nD. 4",
          "answer": "D", "task_class": "Value", "Attributes": "quantity", "image": png()},
         "choice", ("D",), ("D", "4", "four"), ("A", "1")),
        ({"class": "real", "id": "8", "question": "How long?", "option": "(A) 1 m, (B) 2 m",
          "answer": "2 m", "task_class": "Value", "Attributes": "length", "image": png()},
         "choice", ("B",), ("B", "200 cm"), ("A", "1")),
    ],
    "mathverse": [
        ({"sample_index": "1", "problem_index": "1", "problem_version": "Text Dominant", "image": png(),
          "question": "", "question_type": "multi-choice", "answer": "A", "query_cot": "",
          "query_wo": WO + "AB is parallel to CD; find x.\nChoices:\nA:145°\nB:35°\nC:55°\nD:125°"},
         "choice", ("A",), ("A", "145", "145°"), ("B", "35")),
        ({"sample_index": "2", "problem_index": "1", "problem_version": "Text Only", "image": "",
          "question": "", "question_type": "free-form", "answer": "2\\sqrt{3}", "query_cot": "",
          "query_wo": FREE + "A triangle of area 3. Find its side."},
         "open", ("2\\sqrt{3}",), ("\\sqrt{12}", "2\\sqrt{3}"), ("3.46", "2")),
        ({"sample_index": "5", "problem_index": "1", "problem_version": "Vision Only", "image": png(),
          "question": "", "question_type": "multi-choice", "answer": "D", "query_cot": "",
          "query_wo": SEEN + "correct option letter, e.g., A, B, C, D."},
         "choice", ("D",), ("D", "d"), ("A",)),
    ],
    "mathvision": [
        ({"id": "4", "question": "Which figure <image1>?", "options": ["A", "B", "C", "D", "E"],
          "image": "images/4.jpg", "decoded_image": png(), "answer": "B", "level": 2, "subject": "counting"},
         "choice", ("B",), ("B", "b"), ("A", "2")),
        ({"id": "5", "question": "How many? <image1>", "options": [], "image": "images/5.jpg",
          "decoded_image": png(), "answer": "6\\pi", "level": 1, "subject": "algebra"},
         "open", ("6\\pi",), ("6\\pi", "6π"), ("6", "18.8")),
        ({"id": "6", "question": "Value? <image1>", "options": ["10", "\\frac{1}{2}", "4"], "answer": "1/2",
          "image": "images/6.jpg", "decoded_image": png(), "level": 1, "subject": "algebra"},
         "choice", ("B",), ("B", "0.5", "\\frac12"), ("A", "10", "2")),
    ],
    "hallusionbench": [
        ({"category": "VD", "subcategory": "illusion", "set_id": "0", "figure_id": "1", "question_id": "0",
          "question": "Are the lines equal?", "gt_answer": "1", "image": png()},
         "yes_no", ("yes",), ("yes", "True"), ("no",)),
        ({"category": "VD", "subcategory": "illusion", "set_id": "0", "figure_id": "2", "question_id": "0",
          "question": "Are the lines equal?", "gt_answer": "0", "image": png()},
         "yes_no", ("no",), ("no", "No, they differ"), ("yes", "yes and no", "perhaps")),
    ],
    "mmstar": [
        ({"index": 0, "image": png(), "answer": "A", "category": "coarse perception",
          "l2_category": "scene",
          "question": "Which option fits?\nOptions: A: The suitcase is on the book., B: It is beneath"
                      " the cat., C: No suitcase, no cat., D: A cat"},
         "choice", ("A",), ("A", "The suitcase is on the book"), ("B", "D", "a cat")),
    ],
    "mathvista": [
        ({"pid": "1", "question": "When?", "decoded_image": png(), "choices": None, "unit": None,
          "precision": 1.0, "answer": "1.2", "question_type": "free_form", "answer_type": "float"},
         "number", ("1.2",), ("1.2", "1.24", "6/5"), ("1.3", "1")),
        ({"pid": "2", "question": "Which?", "decoded_image": png(), "choices": ["Yes", "No"], "unit": None,
          "precision": float("nan"), "answer": "No", "question_type": "multi_choice", "answer_type": "text"},
         "choice", ("B",), ("B", "No"), ("A", "yes")),
        ({"pid": "3", "question": "How far?", "decoded_image": png(), "choices": None, "unit": "cm",
          "precision": 1.0, "answer": "8.5", "question_type": "free_form", "answer_type": "float"},
         "number", ("8.5 cm",), ("8.5", "8.5 cm", "85 mm"), ("8.5 m", "8.4")),
        ({"pid": "4", "question": "Which ones?", "decoded_image": png(), "choices": None, "unit": None,
          "precision": None, "answer": "[0, 2, 4]", "question_type": "free_form", "answer_type": "list"},
         "open", ("[0, 2, 4]",), ("[0, 2, 4]", "0, 2, 4"), ("[0, 4, 2]", "[0, 2]")),
        ({"pid": "5", "question": "How many?", "decoded_image": png(), "choices": None, "unit": None,
          "precision": None, "answer": "7", "question_type": "free_form", "answer_type": "integer"},
         "number", ("7",), ("7", "seven", "7.0"), ("7.3", "8")),
    ],
    "chartqa": [
        ({"type": "human_test", "question": "How much?", "answer": "14", "image": png()},
         "relaxed", ("14",), ("14", "14.7", "13.3"), ("14.8", "13.2", "A")),
        ({"type": "augmented_test", "question": "Which country?", "answer": "India", "image": png()},
         "relaxed", ("India",), ("india",), ("Indonesia",)),
    ],
}  # fmt: skip
ROWS["mathvision_mini"] = ROWS["mathvision"]
