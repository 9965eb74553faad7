"""What radiologists write, by language: tables from which sentences are assembled.

Hostile on purpose: findings that bear a person's name, words that are names elsewhere, numbers that look like dates,
telephone numbers or records, and months that are no dates.
"""
# ruff: noqa: RUF001  other scripts look like Latin letters

from __future__ import annotations

from dataclasses import dataclass

# The same everywhere: measures, levels, grades, techniques.
MEASURES = (
    "12 x 9 mm", "3.5 x 2.1 x 1.9 cm", "1.25 mm", "10-15 mm", "-850 HU", "35 HU, previously 41 HU", "SUVmax 4.5",
    "SUVmax 12.10, liver 2.3", "b=1000 s/mm2", "b 100 500 1000", "TE 120.5 TR 9000", "TI 2500 ms", "120 kVp, 250 mAs",
    "DLP 1024.5 mGy*cm", "CTDIvol 12.03 mGy", "volume 1250 ml", "LVEF 55 %", "RI 0.65", "120 ml/min", "5 ng/ml",
    "Agatston 1212", "BI-RADS 4A", "PI-RADS 4/5", "LI-RADS LR-3", "Lung-RADS 4B", "TI-RADS 3", "Bosniak IIF",
    "Fazekas 2", "ASPECTS 9", "Kellgren-Lawrence 3", "grade 2/4", "pT3 N1 M0", "L4/5", "T12-L1", "C5/6 and C6/7",
    "3-4 o'clock", "3 cm from nipple", "series 4 image 112", "image 203/512", "phase 4 of 10",
    "segment 4 marginal 12 mm",
    "segment 9 septal 14 mm", "level 12 junctional 40", "1.5 T", "3 T, 32 channels", "FOV 240 mm, 512x512",
    "pitch 0.984:1", "99mTc 740 MBq", "18F-FDG 250 MBq 60 min", "AP 4.2, CC 5.1, LL 3.9 cm", "R 12, L 14 mm",
    "2 of 5", "1/3 of height", "45 degrees", "p16 positive", "Hb 9.8", "GFR 45", "50 ml at 4 ml/s", "40 %", "5/5",
)  # fmt: skip


@dataclass(frozen=True)
class Language:
    charset: str | tuple[str, ...]  # (0008,0005) in which a device of that country writes it
    findings: tuple[str, ...]
    places: tuple[str, ...]
    comments: tuple[str, ...]
    joined: bool = False  # words stand without spaces


LANGUAGES: dict[str, Language] = {
    "English": Language(
        "ISO_IR 100",
        (
            "nodule", "Baker cyst", "Baker's cyst", "Schmorl node", "Virchow node", "Down syndrome", "Brown tumour",
            "brown fat uptake", "Crohn disease", "Hodgkin lymphoma", "Paget disease", "Meckel diverticulum",
            "Colles fracture", "Smith fracture", "Chance fracture", "Jones fracture", "Hill-Sachs defect",
            "Chiari malformation", "Klatskin tumor", "Pancoast tumour", "Graves disease", "Still disease",
            "hill-like mass",
            "frank haemorrhage", "ground-glass opacity", "white matter lesion", "gray matter heterotopia",
            "black blood artefact", "long segment stenosis", "short saphenous reflux", "long head of biceps tear",
            "green stick fracture", "rose thorn ulcer", "string of beads", "apple core lesion", "tree in bud pattern",
            "bright spot", "dark band", "flow void", "air-fluid level", "hardware", "PICC line", "NG tube",
            "chest drain",
            "patent foramen", "fatty change", "deep vein thrombosis", "page kidney", "stone", "wall thickening",
        ),
        (
            "left hand", "hand and wrist", "right foot", "head of pancreas", "neck of femur", "hilum",
            "right upper lobe",
            "segment 6", "long axis", "short axis", "corona radiata", "pouch of Douglas", "Gerdy tubercle",
            "space of Retzius", "foramen of Winslow", "field of view", "lateral wall", "apex of heart",
            "body of stomach",
            "ward round region", "main duct", "left hip", "great vessels", "young child's elbow", "marrow",
            "bone window",
        ),
        (
            "may represent scar", "will need follow-up in 6 months", "unchanged", "was seen on the prior study",
            "rose in signal after contrast", "no acute finding", "stern but benign in course", "long standing",
            "please correlate by hand measurement", "as to be expected in May be benign", "in this case no 3 mm nodule",
            "more than before", "patient moved", "contrast given by hand", "an incidental finding", "do not scan again",
            "so far stable", "low yield", "best seen on image #12 of study 2", "well seen", "grant access to priors",
            "mark placed by technologist", "pat dry", "check in 12 weeks", "since 2019", "from 2019 to 2024 stable",
            "accession pending", "call back if worse", "on the next visit", "see above",
        ),
    ),
    "German": Language(
        "ISO_IR 100",
        (
            "Rundherd", "Baker-Zyste", "Schmorl-Knoten", "Morbus Crohn", "Morbus Hodgkin", "brauner Tumor",
            "Milchglastrübung", "langstreckige Stenose", "kurze Stenose", "kleiner Herd", "frische Fraktur", "Erguss",
            "weiße Substanz verändert", "junge Fraktur", "dicke Wand", "Gefäßabbruch", "starke Verkalkung", "Ödem",
        ),
        (
            "linke Hand", "Kopf der Bauchspeicheldrüse", "rechter Fuß", "Segment 6", "Oberlappen rechts", "Hals",
            "Unterbauch", "lange Bizepssehne", "kleines Becken", "Herzspitze", "4. Rippe links", "5. und 6. Rippe",
        ),
        (
            "im Verlauf unverändert", "im Mai erneut zu prüfen", "kein Nachweis einer Blutung", "zum Teil verkalkt",
            "lang bekannt", "Kontrolle in 3 Monaten", "am ehesten narbig", "seit 2019 stabil", "von Hand gemessen",
            "im Fall 2 mm größer", "groß, aber gutartig", "frei dargestellt", "klein", "Kontrolle der Nr. 3 empfohlen",
        ),
    ),
    "French": Language(
        "ISO_IR 100",
        (
            "nodule", "kyste de Baker", "maladie de Crohn", "fracture récente", "épanchement pleural", "petit foyer",
            "grande masse", "sténose longue", "plaque blanche", "œdème osseux", "hernie discale", "kyste brun",
        ),
        (
            "main gauche", "tête du pancréas", "lobe supérieur droit", "segment 6", "petit bassin", "grand axe",
            "côte droite", "long biceps", "moyen fessier", "jambe gauche", "nœud sinusal", "pied droit",
        ),
        (
            "sans changement", "à contrôler dans 6 mois", "stable depuis 2019", "pas de lésion aiguë", "déjà connu",
            "peut correspondre à une cicatrice", "vu le mois dernier", "à la main", "bien visible", "n° 3 sur la série",
        ),
    ),
    "Spanish": Language(
        "ISO_IR 100",
        (
            "nódulo", "quiste de Baker", "enfermedad de Crohn", "fractura reciente", "derrame", "masa grande",
            "sustancia blanca alterada", "estenosis larga", "tumor pardo", "edema óseo", "costilla rota",
        ),
        (
            "mano izquierda", "cabeza del páncreas", "lóbulo superior derecho", "segmento 6", "cuerpo calloso",
            "pierna derecha", "vena cava", "brazo corto", "eje mayor", "cara anterior", "cuello", "pie izquierdo",
        ),
        (
            "sin cambios", "control en 6 meses", "estable desde 2019", "hallazgo de rutina", "ya conocido",
            "puede ser cicatriz", "de la mano del estudio previo", "bien definido", "mayor que antes",
        ),
    ),
    "Polish": Language(
        "ISO_IR 101",
        ("guzek", "torbiel Bakera", "złamanie", "płyn w jamie opłucnej", "zwężenie", "zmiana ogniskowa", "obrzęk"),
        ("lewa ręka", "głowa trzustki", "płat górny prawy", "segment 6", "miednica mała", "długa oś", "stopa prawa"),
        ("bez zmian", "kontrola za 6 miesięcy", "stabilne od 2019", "bez cech krwawienia", "dobrze widoczne"),
    ),
    "Russian": Language(
        "ISO_IR 144",
        ("узелок", "киста Бейкера", "перелом", "выпот", "стеноз", "рак лёгкого", "очаг", "характерное изменение"),
        ("левая кисть", "головка поджелудочной железы", "верхняя доля справа", "сегмент 6", "малый таз", "корень"),
        ("без изменений", "контроль через 6 месяцев", "стабильно с 2019", "без острой патологии", "белое вещество"),
    ),
    "Greek": Language(
        "ISO_IR 126",
        ("οζίδιο", "κύστη Baker", "κάταγμα", "πλευριτική συλλογή", "στένωση", "οίδημα"),
        ("αριστερό χέρι", "κεφαλή παγκρέατος", "δεξιός άνω λοβός", "μακρός άξονας", "μηρός"),
        ("χωρίς μεταβολή", "έλεγχος σε 6 μήνες", "σταθερό από 2019", "καλά ορατό"),
    ),
    "Hebrew": Language(
        "ISO_IR 138",
        ("קשרית", "ציסטה", "שבר", "תפליט", "היצרות", "בצקת"),
        ("יד שמאל", "ראש הלבלב", "אונה ימנית עליונה", "ציר ארוך", "אגן קטן"),
        ("ללא שינוי", "מעקב בעוד 6 חודשים", "יציב מאז 2019", "ללא ממצא חריף"),
    ),
    "Arabic": Language(
        "ISO_IR 127",
        ("عقيدة", "كيسة", "كسر", "انصباب", "تضيق", "وذمة"),
        ("اليد اليسرى", "رأس البنكرياس", "الفص العلوي الأيمن", "المحور الطويل", "الحوض"),
        ("بدون تغيير", "متابعة بعد 6 أشهر", "مستقر منذ 2019", "لا توجد آفة حادة"),
    ),
    "Japanese": Language(
        ("", "ISO 2022 IR 87"),
        ("結節", "骨折", "胸水", "狭窄", "浮腫", "小林檎大の腫瘤", "田畑状の陰影"),
        ("左手", "膵頭部", "右上葉", "長軸", "小骨盤", "山型の隆起", "中葉"),
        ("変化なし", "六か月後に再検", "出血なし", "高信号", "明らかな異常なし"),
        joined=True,
    ),
    "Chinese": Language(
        "GB18030",
        ("结节", "骨折", "胸腔积液", "狭窄", "水肿", "高密度影", "明显强化"),
        ("左手", "胰头", "右上叶", "长轴", "小骨盆", "王氏线"),
        ("未见变化", "六个月后复查", "未见出血", "高信号", "考虑良性"),
        joined=True,
    ),
    "Korean": Language(
        ("", "ISO 2022 IR 149"),
        ("결절", "골절", "흉수", "협착", "부종", "이상 소견"),
        ("왼손", "췌장 두부", "우상엽", "장축", "골반"),
        ("변화 없음", "6개월 후 추적", "출혈 없음", "김이 서린 영상"),
    ),
}  # fmt: skip
