"""Groups of answers of which no two are the same; every pair of a group is a pair of different labels."""

GROUPS: dict[str, list[str]] = {
    "whole numbers": [
        "0", "1", "2", "3", "7", "12", "13", "21", "31", "102", "120", "201", "210", "1000", "1001", "1010", "10000",
        "-1", "-2", "-12", "-1000", "999", "1,234,567", "12345", "123", "1 000 001", "forty", "fourteen", "one hundred and six",
        "two thousand and five", "nineteen", "ninety",
    ],
    "decimals": [
        "0.1", "0.01", "0.001", "0.11", "0.101", "1.1", "1.01", "11.0", "10.1", "-0.1", "3.14", "3.141", "3.1416",
        "2.5e3", "2.5e-3", "2.5e4", "25e-5", "1.5 × 10^6", "1.5 × 10^7", "15 × 10^3", "0,25", "0,025", "zero point five", "five point two",
        "2.05", "2.005", "20.5", "0.(3)", "0.(6)", "0.33", "0.3", "1.2(34)",
    ],
    "fractions": [
        "1/2", "1/3", "2/3", "3/2", "1/4", "3/4", "4/3", "3 1/4", "3 3/4", "2 1/3", r"\frac{5}{6}", r"\frac{6}{5}",
        "two fifths", "five halves", "3 sixteenths", "a third of a", "seven eighths", "1/7", "-1/7", "four and a half",
        "five and two thirds", "1/100", "one thousandth", r"\frac{1}{2}x", "2/5ths", "three halves of",
    ],
    "number and word": [
        "2", "2 thirds", "2 pi", "2 pi r", "2 squared", "2 e", "2 theta", "2 alpha", "2 dozen", "2 dogs", "2 cats", "2 cm",
        "2 below zero", "2 over", "2 more", "2 doubled", "2 score", "2 gross", "2 o'clock", "2 pm", "2 am", "2nd", "2 times",
        "2 infinity", "2%", "$2", "2 or 3", "2 and 3", "2 to 3", "2 out of 3", "2 of hearts", "2D", "2x", "2/x", "x/2", "2+",
        "<2", ">2", "at least 2", "under 2", "2 hundred", "2 thousand", "2 million", "2 R 1", "no 2", "two thirds of 2",
    ],
    "lengths": [
        "5 mm", "5 cm", "5 m", "5 km", "5 in", "5 ft", "5 yd", "5 mi", "5 nm", "5 μm", "5 m^2", "5 cm^2", "5 m^3",
        "5 mL", "5 L", "5 gal", "5 units", "5 square units", "5 px", "5 ha", "5 nautical miles", "5 light years",
        r"5\sqrt{2} cm", r"5\sqrt{2} m", r"5\sqrt{2}", r"5\pi cm", r"5\pi", "50 m", "0.5 m", "5 mm^2", "5 Mm",
    ],
    "units of physics": [
        "3 N", "3 kN", "3 J", "3 kJ", "3 W", "3 kW", "3 MW", "3 mW", "3 V", "3 mV", "3 A", "3 mA", "3 Ω", "3 kΩ", "3 Hz", "3 kHz",
        "3 Pa", "3 kPa", "3 bar", "3 T", "3 K", "3 °C", "3 °F", "3 m/s", "3 km/h", "3 mph", "3 m/s^2", "3 rpm", "3 kg", "3 g",
        "3 lb", "3 oz", "3 ton", "3 s", "3 ms", "3 min", "3 h", "3 days", "3 weeks", "3 months", "3 years", "3 decades", "3 mol",
        "3 cd", "3 eV", "3 cal", "3 kcal", "3 kWh", "3 dB", "3 ppm", "3 N m^2", "3 kg/m^3", "3 g/cm^3", "3 bits", "3 GB", "3 Gb", "3 coulombs",
    ],
    "money": [
        "$4", "€4", "£4", "4 yen", "4 yuan", "4 rupees", "4 won", "4 rubles", "4 cents", "4 francs", "$4k", "$4 million", "$4bn",
        "$40", "$0.40", "$4/hour", "$4 per day", "€4 million", "4 pounds of rice", "4 bitcoin", "-$4", "$4.50", "4 dimes", "4 coins",
    ],
    "percent": ["7%", "0.7%", "70%", "7", "70", "9‰", "7 percent of 70", "-7%", "17%", "1.7", "7:10", "7 in 10"],
    "letters": [*"ABCDEFGHIJKLMNOPQRSTUVWYZ"],
    "letters and more": [
        "A", "B", "C", "A, B", "A, C", "B, C", "A, B, C", "(A, B, C)", "(C, B, A)", "(B, A, C)", "[A, C]", "[C, A]", "A or B", "A or C",
        "A - B", "B - A", "A-C", "A to C", "A. red", "B. red", "A. blue", "A: 5", "B: 5", "not A", "not B", "neither A nor B",
        "A is wrong", "B. is wrong", "A'", "A''", "~A", "~B", "A+", "A-", "A*", "A_1", "A_2", "A^2", "A and not B", "only A", "only B",
        "A → B", "B → A", "A > B", "B > A", "A = B + C", "A/B", "B/A", "A(B)", "A1", "A2", "1A", "AA", "Aa", "aa",
    ],
    "words": [
        "red", "dark red", "red car", "reddish", "not red", "blue", "light blue", "blue-green", "cat", "cats", "cat and dog",
        "catch", "dog", "hot dog", "the dog's", "left", "right", "top left", "bottom left", "top right", "leftover", "north",
        "north-east", "east", "no one", "no-op", "nothing", "none", "nobody", "no dogs", "unknown", "N/A", "yes", "no", "maybe", "yes and no",
        "Maße", "Masse", "resume", "résumé", "grey", "gray", "colour", "color", "New York", "York", "New Yorker", "new",
        "It is red", "It is not red", "is it red", "man bites dog", "dog bites man", "ice cream", "cream ice", "on", "in", "of", "for",
    ],
    "names": [
        "J. Smith", "T. Smith", "J. Smyth", "John Smith", "Smith", "Smith, J", "A. Lincoln", "B. Lincoln", "E. coli", "S. aureus",
        "S. epidermidis", "T. rex", "T. Rex Jr", "Mary Ann", "Ann Mary", "Mary-Anne", "Elizabeth I", "Elizabeth II", "Henry V", "Henry VI",
        "Henry VIII", "Louis XIV", "Louis XVI", "Boeing 737", "Boeing 747", "Airbus A320", "Airbus A380", "Apollo 11", "Apollo 13",
        "Windows 7", "Windows 10", "iPhone 8", "iPhone X", "World War I", "World War II", "Route 66", "Route 6", "C. Darwin", "C. Linnaeus",
    ],
    "codes": [
        "1.2.3", "1.2.4", "1.23", "12.3", "1.3.2", "v1.2.3", "v2.1.3", "192.168.0.1", "192.168.1.0", "10.0.0.1", "A1B2", "A2B1", "B1A2", "AB12",
        "AB-12", "AB-21", "12-AB", "B-52", "B-25", "GPT-3", "GPT-4", "Covid-19", "H1N1", "H5N1", "555-0123", "555-0132", "555-1023",
        "555-123-4567", "555-124-4567", "i5-8250U", "i7-8250U", "10-K", "10-Q", "8-K", "#5", "#6", "No. 5", "No. 6", "ISBN 5", "007", "07-11",
    ],
    "ranges": [
        "1-5", "5-1", "1-6", "2-5", "15", "1 to 50", "1.5", "1:5", "1/5", "1-5 cm", "1-5 m", "1-5%", "-1-5", "$1-$5", "1-5 million",
        "1-5-10", "1 and 5", "1 or 5", "18-24", "18-25", "18+", "24+", "<18", ">18", "Jan-Mar", "Apr-Jun", "2019-2020", "2019-2021", "2018-19",
        "9 am - 5 pm", "9 am - 6 pm", "9 pm - 5 am", "1st to 3rd", "2nd to 3rd", "A-C", "A-D",
    ],
    "ratios and sizes": [
        "3:2", "2:3", "6:4", "3:2:1", "1:2:3", "3/2", "3-2", "3 x 2", "2 x 3", "6 x 4", "6", "5", "3 × 2 × 1", "1 × 2 × 3", "3 cm × 2 cm",
        "3 m × 2 m", "16:9", "4:3", "640x480", "480x640", "2 + 3", "3 + 2", "1 + 4", "2 - 3", "3 * 4", "2 * 6", "1 * 12", "2^2 * 3",
        "8.5 x 11", "11 x 8.5",
    ],
    "dates": [
        "January 5, 2020", "January 6, 2020", "May 1, 2020", "January 5, 2021", "January 5", "January 2020", "2020", "03/04/2021", "04/03/2021",
        "2021-03-04T10:00", "2021-03-05", "12/25", "25/12", "1/1/2000", "2/2/2000", "July 4, 1776", "July 14, 1789", "4 July", "14 July", "July 1776",
        "Q1 2020", "Q2 2020", "Q1 2021", "1990s", "1980s", "19th century", "20th century", "Monday", "Tuesday", "March", "June", "3月8日", "8月3日", "2024年5月",
        "2024年6月", "Spring 2020", "Fall 2020", "500 BC", "500 AD", "c. 1850",
    ],
    "times": [
        "7:30", "7:45", "8:30", "7:30 am", "7:30 pm", "7:03", "17:30", "7:30:15", "half past six", "quarter past 7", "quarter to 7", "ten to seven",
        "ten past seven", "noon", "midnight", "7 o'clock", "8 o'clock", "7 am", "7 pm", "7 hours", "7 minutes", "7 hours 30 minutes",
        "9点半", "10点半", "下午3点", "上午3点", "九点十分",
    ],
    "roots and powers": [
        r"\sqrt{2}", r"\sqrt{3}", r"\sqrt{6}", r"2\sqrt{2}", r"2\sqrt{3}", r"3\sqrt{2}", r"\sqrt[3]{2}", r"\sqrt[3]{3}", r"\sqrt[4]{2}", r"\sqrt{5}",
        r"-\sqrt{2}", r"\frac{1}{\sqrt{3}}", r"\frac{\sqrt{2}}{3}", r"\frac{\sqrt{3}}{2}", r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}-1", r"1-\sqrt{5}", r"\frac{1+\sqrt{5}}{2}",
        r"\frac{1-\sqrt{5}}{2}", r"\frac{\sqrt{5}}{2}", r"\sqrt{2+\sqrt{3}}", r"\sqrt{2-\sqrt{3}}", r"2^{10}", r"2^{11}", r"3^{10}", r"10^{-3}", r"2^{1/3}+1", r"\pi", r"2\pi", r"\pi^2",
        r"\frac{\pi}{2}", r"\frac{\pi}{3}", r"\frac{2\pi}{3}", r"\pi+1", r"\sqrt{\pi}", "e", r"e^2", r"2e+1", r"e\pi", r"\ln 2", r"\ln 3", r"\log 2", r"\log_2 3", r"\log_3 2", "1.41", "1.414", "3.14159", "22/7",
        "2i", "-2i", "1+2i", "1-2i", "2+i", "3+4i", "3-4i", r"\frac{1}{2}i+2",
    ],
    "trigonometry": [
        r"\sin x", r"\cos x", r"\tan x", r"\cot x", r"\sec x", r"\sin 2x", r"2\sin x", r"\sin^2 x", r"\sin x^2", r"\frac{1}{\sin 2x}", r"\sin(x+1)", r"\sin x+1", r"\sin y",
        r"x\sin x", r"\sin x\cos x", r"\sin x+\cos x", r"\sin x-\cos x", r"\arcsin x", r"\arccos x", r"\arctan x", r"\sinh x", r"\cosh x", r"\ln x", r"\log x", r"\ln 2x", r"\ln x^2+1", r"e^x", r"e^{-x}", r"e^{2x}", r"x e^x", r"\sqrt{x}", r"\sqrt{x+1}",
        r"\sqrt{x}+1", r"|x|", r"|x+1|", r"|x|+1", r"\sin 30^\circ", r"\sin 60^\circ", r"\sin 45^\circ", r"\cos 45^\circ+1", r"\tan 45^\circ",
    ],
    "polynomials": [
        "x+1", "x-1", "1-x", "2x+1", "2x-1", "2(x+1)+1", "x^2", "x^3", "2x^2", "(2x)^2", "x^2+1", "x^2-1", "(x+1)^2", "(x-1)^2", "x^2+x", "x^2-x", "x(x+2)", "-x^2", "x^2+2x+2",
        "x+y", "x-y", "y-x", "xy+1", "x/y+1", "y/x+1", "2x+3y", "3x+2y", "ax+b", "bx+a", "ax^2+bx+c", "cx^2+bx+a", r"\frac{x}{2}", r"\frac{2}{x}", r"\frac{x+1}{x-1}", r"\frac{x-1}{x+1}", r"\frac{1}{x}",
        r"\frac{1}{x+1}", r"\frac{1}{x}+1", "x^{-2}", "x^y", "y^x", "2^x", "2^{-x}", "2^{x+1}", "3^x", "n(n+1)/2+0", "n(n-1)/2", "n^2", "2n", "2n+1", "2n-1", "n!", "(n+1)!", "n!+1", "x_1", "x_2", "x_{12}", "x_1x_2", "x_1+x_2",
    ],
    "beyond algebra": [
        r"\frac{dy}{dx}", r"\frac{dx}{dy}", r"\frac{dy}{dt}", r"\frac{dI}{dt}", r"\frac{di}{dt}", r"L\frac{dI}{dt}", r"-L\frac{dI}{dt}", r"C\frac{dV}{dt}", r"\frac{d^2y}{dx^2}", r"\frac{\partial f}{\partial x}",
        r"\frac{\partial f}{\partial y}", "dy/dx", "dx/dy", r"\int x dx", r"\int y dy", r"\int_0^1 x dx", r"\int_0^2 x dx", r"\sum_{n=1}^5 n", r"\sum_{n=1}^6 n", r"\lim_{x\to 0} f", r"\lim_{x\to 1} f", "A^T", "A^{-1}", "B^T", "(AB)^T", r"A^\dagger",
        r"\vec{a}", r"\vec{b}", r"\vec{a}\times\vec{b}", r"\vec{b}\times\vec{a}", r"\vec{a}\cdot\vec{b}", r"\vec{AB}", r"\vec{BA}", r"\hat{i}", r"\hat{j}", "f(x)", "g(x)", "f(2)", "f(3)", "f'(x)", "f''(x)", "f^{-1}(x)", "g^{-1}(x)", "f(g(x))", "g(f(x))", r"f\circ g", r"g\circ f",
        r"\nabla f", r"\Delta x", r"\Delta y", r"\frac{\Delta y}{\Delta x}", r"\frac{\Delta x}{\Delta y}", r"\frac{y}{x}", r"\binom{5}{2}", r"\binom{5}{3}", "5!", "6!", r"\overline{AB}+\overline{CD}", r"\bar{x}", r"\bar{y}", r"\dot{x}", r"\ddot{x}", r"\pm 3", r"\mp 3", "5±1", "5±2", "4±1",
    ],
    "equations": [
        "x = 1", "x = 2", "y = 1", "x = -1", "x = 1 or x = 2", "x = 1 or x = 3", "x = 1, y = 2", "x = 2, y = 1", "x + y = 5", "x - y = 5", "x + y = 6", "2x + y = 5", "x + 2y = 5", "y = 2x", "y = 3x", "z = 2x + 0z", "y = x^2", "y = x^3", "x = y^2",
        "3 + 4 = 7", "4 + 3 = 7", "2 + 5 = 7", "7", "7 = 3 + 4", "3 * 4 = 12", "2 * 6 = 12", "F = ma", "F = mv", "F = m/a", "E = mc^2", "E = mc", "PV = nT", "a = b", "a = c", "b = c", "AB = 5", "CD = 5", "AB = CD", "AC = BD", r"\angle A = 30^\circ", r"\angle B = 30^\circ", "n = 5", "m = 5", "width = 5", "height = 5", "length = 5, width = 3", "length = 3, width = 5",
        r"\frac{dy}{dx}=2x", r"\frac{dy}{dx}=3x", "P(A) = 0.5", "P(B) = 0.5", "f(x) = 3x + 1", "f(x) = 3x + 2", "x^2 + y^2 = 1", "x^2 - y^2 = 1", "x^2 + y^2 = 4",
    ],
    "inequalities": [
        "x > 1", "x < 1", "x >= 1", "x <= 1", "x > 2", "y > 1", "x != 1", r"x \ne 2", "1 < x < 2", "1 <= x < 2", "1 < x <= 2", "1 <= x <= 2", "1 < x < 3", "1 < y < 2", "(3, 5)", "[3, 5)", "(3, 5]", "[3, 5]", r"(-\infty, 3)", r"(-\infty, 3]", r"(3, \infty)", r"[3, \infty)", r"(-\infty, \infty)",
        r"(-\infty,1)\cup(2,\infty)", r"(-\infty,1]\cup(2,\infty)", r"(-\infty,1)\cup(3,\infty)", r"x\in(1,5)", r"x\in[1,5)", r"x\in\{1,5\}", r"x\notin\{1,5\}", "A < B < C", "A < C < B", "C < B < A", "3 < 4", "3 < 5", "x > y", "y > x", "x > y > z",
    ],
    "ordered lists": [
        "(1, 2)", "(2, 1)", "(1, -2)", "(-1, 2)", "(1, 3)", "(1, 2, 3)", "(3, 2, 1)", "(2, 1, 3)", "[1, 3, 2]", "[3, 1, 2]", "(0, 1)", "(0.5, 1)", "(x, y)", "(y, x)", "(u, v)", "(a, b)", "(A, B)", "(B, A)", "(A, 1)", "(1, A)", "(B, 1)", "[red, blue]", "[blue, red]", "[red, green]", "(red, 1)", "(blue, 1)",
        "['A', 'C', 'B']", "['B', 'C', 'A']", "[True, False]", "[False, True]", "[True, True]", "yes, no, yes", "no, yes, yes", "15-13, 15-9", "15-9, 15-13", "A → B → C", "A → C → B", "C → B → A", "A-B-C", "B-A-C", r"(\sqrt{2}, 1)", r"(1, \sqrt{2})",
    ],
    "unordered lists": [
        "1, 2, 3", "1, 2", "1, 3", "1, 2, 2", "2, 3", "1, 2, 3, 4", "12, 3", "1, 23", "red, blue", "red, green", "red, blue, green", "blue", "red", "{5, 6}", "{5, 7}", "5 and 8", "5 or 8", "5 or 9", "Paris, France", "Paris, Texas", "cat, dog", "cat, dogs", "1,5", "1.5", "2,5", "x = 4, 5", "x = 4, 6",
    ],
    "matrices": [
        r"\begin{pmatrix}1 & 2\\3 & 4\end{pmatrix}", r"\begin{pmatrix}1 & 3\\2 & 4\end{pmatrix}", r"\begin{pmatrix}2 & 1\\3 & 4\end{pmatrix}", r"\begin{pmatrix}1 & 2\\4 & 3\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}", r"\begin{pmatrix}1 & 2\end{pmatrix}", r"\begin{pmatrix} 1 & 2 & 3 & 4 \end{pmatrix}",
        r"\begin{pmatrix} 1 & 3 & 2 & 4 \end{pmatrix}", r"\begin{vmatrix}1 & 2\\3 & 4\end{vmatrix}", r"\begin{pmatrix}1 & 2\\3 & -4\end{pmatrix}", r"\begin{pmatrix}12\\34\end{pmatrix}", r"\begin{pmatrix}1 & 0\\0 & 1\end{pmatrix}", r"\begin{pmatrix}0 & 1\\1 & 0\end{pmatrix}",
    ],
    "chemistry": [
        "H2O", "H2O2", "HO2", "2H2O", "H2", "2H", "O2", "O3", "CO", "Co", "CO2", "Co2", "C2O", "CO3", "CO_3^{2-}", "NO", "NO2", "N2O", "N2O4", "N2O5", "NH3", "NH4", "NH4+", "N3H", "CH4", "C4H", "C2H4", "C2H6", "C6H6", "C6H12O6", "C12H22O11", "NaCl", "NaCl2", "Na2Cl", "Na+", "Na", "Na2+", "Cl-", "Cl", "Cl2", "KCl", "HCl", "HClO", "HClO4", "Ca3(PO4)2", "Ca2(PO4)3", "CaPO4", "Fe2(SO4)3", "Fe3(SO4)2",
        "FeSO4", "Fe2O3", "Fe3O4", "FeO", "Fe^{2+}", "Fe^{3+}", "Al2O3", "Al3O2", "Al(OH)3", "Al3(OH)", "Mg(OH)2", "MgOH2", "H2SO4", "H2SO3", "H2S", "SO2", "SO3", "S2O", "Cu", "Cu2+", "CuSO4", "Cu2SO4", "2H2 + O2", "H2 + 2O2", "H2 + O2", "N2 + 3H2", "3N2 + H2", "2Na + Cl2", "Na2 + 2Cl", "2H2 + O2 -> 2H2O", "H2 + O2 -> H2O2", "H2O -> H2 + O2", "A + B -> C", "C -> A + B",
        r"^{14}_{6}C", r"^{12}_{6}C", r"^{235}_{92}U", r"^{238}_{92}U", "pH 7", "pH 4", "C=O", "C-O", "C-C", "C=C", "C - H", "C-N",
    ],
    "Chinese": [
        "三", "四", "十", "十三", "三十", "三十一", "一百", "一百零一", "一百一十", "一千", "一万", "三万五千", "三千五百", "十几个", "三分之一", "三分之二", "四分之三", "百分之三十", "百分之三", "七折", "三点五", "五点三", "负三", "三角形", "四边形", "五边形", "六边形", "三文鱼", "一起", "一样", "一切", "四川", "十字路口", "百合", "三只狗", "三只猫", "三个半", "第三", "第四",
        "三加二", "三的平方", "三以上", "三以下", "红", "蓝", "红和蓝", "红和绿", "红色汽车", "左", "右", "左边", "右上", "北京", "南京", "东京", "是", "不是", "上午九点", "下午九点", "三月八日", "八月三日", "3 厘米", "3 米", "3 公斤", "三星", "五星",
    ],
    "ordinals": ["1st", "2nd", "third", "fourth", "fifth", "eleventh", "twelfth", "twentieth", "twenty-first", "31st", "hundredth", "3", "4", "1", "first floor", "second floor", "1 second", "first place", "first and second"],
    "yes and no": ["yes", "no", "yes and no", "no one", "no-op", "no dogs", "no parking", "No. 5", "No. 6", "not sure", "true north", "false alarm", "yesterday", "north", "nope", "None", "unknown", "both", "neither", "false positive", "true positive", "yes 3", "no more", "it is true", "it is false"],
    "bases": ["101₂", "101", "1012", "101₃", "110₂", "5₈", "5₂", "52", "58", "10₂", "102", "10_3", "103", "FF_{16}", "0xFF", "FE_{16}"],
    "programs": ["2**3", "23", "3**2", "32", "2*3", "2^4", "x**2", "x2", "x**3", "2**n", "2n+0", "a**b", "b**a", "10**3", "10-3", "10**-3", "a*b+1", "a+b", "a==b", "a!=b", "x+=1", "x-=1", "x++", "x--"],
    "geometry": [
        r"\triangle ABC", r"\triangle ABD", r"\triangle ACB", r"\angle ABC", r"\angle ACB", r"\angle BAC", r"\angle 1", r"\angle 2", r"AB \parallel CD", r"AB \perp CD", r"AC \parallel BD", r"\triangle ABC \cong \triangle DEF", r"\triangle ABC \cong \triangle DFE", r"\triangle ABC \sim \triangle DEF", "AB", "BA", "AC", "BD", r"AB \cdot CD", r"AC \cdot BD", "AB + CD", "AC + BD", "AB - CD", "CD - AB", "AB/CD", "CD/AB", r"\odot O", r"\odot P", "SSS", "SAS", "ASA", "AAS", "HL",
        "45°", "45 m", "90°", "45° and 90°", "30°, 60°", "N 45° E", "N 45° W", "40°N", "40°S", "40.5°",
    ],
    "logic and sets": [
        r"p \lor q", r"p \land q", r"q \Rightarrow p", r"p \Rightarrow q", r"\neg p", "p", r"\forall x", r"\exists x", r"A \cup B", r"A \cap B", r"A \cap C", r"A \setminus B", r"B \setminus A", r"A \subset B", r"B \subset A", r"x \in A", r"x \notin A", r"x \in B", r"\emptyset", r"\{0\}", r"\{\emptyset\}", "0", r"\mathbb{R}^2", r"\mathbb{R}^3", r"\{1, 2\}", r"\{1, 2, 3\}", r"\{1\}", r"\{2, 3\}",
    ],
    "Greek": [r"\alpha", r"\beta", r"\gamma", r"\Gamma", r"\delta", r"\Delta", r"\theta", r"\Theta", r"\lambda", r"\mu", r"\nu", r"\pi", r"\Pi", r"\rho", r"\sigma", r"\Sigma", r"\tau", r"\phi", r"\Phi", r"\psi", r"\omega", r"\Omega", r"\lambda/2", r"2\lambda", r"\lambda/4", r"\theta/2", r"2\theta", r"\mu_0", r"\mu_1", r"\epsilon_0", r"\alpha+\beta", r"\alpha-\beta", r"\beta-\alpha", r"\alpha\beta", r"\alpha/\beta", r"\beta/\alpha"],
}  # fmt: skip
