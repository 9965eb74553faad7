"""Text that was read in an image: what of it may stay. Default deny: only measures, scales and clinical words do."""

from __future__ import annotations

import functools
import re

from radrelay_anonymize.domain.folding import fold, squeeze
from radrelay_anonymize.domain.words import Words
from radrelay_shared.dicom.patterns import PATTERNS

READABLE = 0.6  # mean probability of the characters; what is read with less is hidden

# Words that stay, lower case. A patient of such a name is known by the study's words and hidden all the same.
VOCABULARY: dict[str, str] = {
    "units and numbers": """
        a av avg bp bpm cc cgy cm cm2 cm3 db deg dg fps g ghz gy h hg hu hz j kev kg khz kpa kv kvp l lpmm m
        ma mas max mbq mean med mgy mhg mhz mid min ml mm mm2 mm3 mmhg mps ms msec mv mw ng px rpm s sd sec
        std suv sv total um us v w x
        """,
    "ultrasound machine": """
        2d 3d 4d acq adv agc angle ao ap art asc ave b bmode c cbi cd cdi ce cf cfi chi cine clip color colour
        com comp contrast cpa cpd crossxbeam cw dep depth doppler dr dtce dyn dynr elasto enh ext fa filt
        filter flow focus fr frame frames freeze freq fund gain gen general gn harm hd hgen hi hist hpen hres
        i inv invert ldr live low lvo mag map maps mhi mi mmode mode off on opt p pan pen persist pfi post pow
        power pre prf process pulse pw pwr r rec rej res resolution rs sample sc scale scan sct se sgc slow
        smooth soft sp speckle sri st steer svol sweep tac tdi tgc thi ti tib tibo tic tico tis tiso tissue tv
        vel velocity vol vs wall wf xbeam xres zoom
        """,
    "measurements and calculations": """
        ac acc afi age area aua bpd calc calculation caliper cbl circ circumference crl cursor dec dia diam
        diameter diff dist distance dt ea ed edv ef efw ellipse es esv fd fl fs ga growth hc height hr humerus
        ivs ivsd ivss la len length lvedd lvef lvesd lvidd lvids lvot lvpw lvpwd lvpws md measure measurement
        mva nt ofd peak perim perimeter pg pgmax pgmean pht pi psv ratio result results ri roi rvsp sdratio
        slope tamax tamean tapse time trace vmax vmean vmin volume vti width wt
        """,
    "projection, computed and magnetic images": """
        acquisition adc angio arterial ax axial bearing caud caudal chest compression cor coronal cran cranial
        ct cta ctdi ctdivol cview de decub decubitus delay delayed diffusion dlp dose dsa dti dwi echo erect
        expiration fat flair fluoro fluoroscopy fov gad gantry gradient gre helical im image images img
        inspiration inversion ir kernel ky lao lat lateral lm localiser localizer lossless lossy lut
        magnification mammo mammography mask mip mlo mpr mr mra mri nex obl oblique pa pd pet phase pitch
        plane portable portal prone proton rao recon reformat run sag sagittal scout semi sequence series
        sitting slice slices spin spot ssfse standing stir subtraction supine swi t1 t1w t2 t2w table te thick
        thickness thk tilt tomo tomosynthesis tr tse turbo upright venous view views wc weight win window wl
        ww xccl
        """,
    "sides, directions, positions": """
        a2c a3c a4c a5c ant anterior apex apical axis basal base bilat bilateral deep distal dorsal f ff fh
        foot head hf high horizontal in inf inferior inner lax left lf ll lll llq lo long longitudinal lower
        lt lul luq medial middle midline out outer parasternal plantar plax plx posterior prox proximal psax
        radial rf right rl rll rlq rml rt rul ruq sax side sub subcostal subxiphoid sup superficial superior
        suprasternal trans transverse trv trx up upper ventral vertical
        """,
    "anatomy": """
        abdomen abdominal achilles acromioclavicular adnexa adrenal amnion amniotic ankle aorta aortic
        appendix areola arm arteries artery atrial atrium auricle axilla axillary bicep biceps bifurcation
        bladder bone bowel brachial brain breast bursa calcaneus calf cardiac carotid cava cavum cbd cca
        cerebellum cervical cervix cfa cfv chd cheek cist cisterna clavicle coccyx colon common cord coronary
        cortex cyst cystic diaphragm duct ductal duodenum ear eca elbow endometrium epididymis epigastric
        esophagus eye face femoral femur fetal fetus fibula finger forearm gallbladder gastric gastrocnemius
        gb gestational gland great groin gsv gut hand heart hepatic hip humeral ica ij ijv iliac infraspinatus
        inguinal intestine iva ivc jaw joint kidney kidneys knee kub labrum lad larynx lcx leg lens leva
        ligament liver lobe lumbar lung lungs lv lva lymph magna mandible maxilla mca mediastinum meniscus
        mitral mscskel msk muscle musculo nail neck nerve nipple node nodes nodule nose ob orbit ov ovaries
        ovary pancreas paracolic parotid patella patellar pda pelvic pelvis pericardium peritoneal peroneal
        pharynx placenta pleura pleural pop popliteal pouch prostate psoas pulm pulmonary pylorus quad
        quadriceps ra radius rca rectal rectum renal retina rib ribs rotator rv sac sacral sacrum saphenous
        scalp scapula scrotal scrotum sfa sfj sfv shoulder sinus skin skull sma small smv spine spleen splenic
        sternum stomach subclavian subscapularis supraspinatus svc tail tendon teres testes testicle
        testicular testis thigh thoracic thorax thumb thymus thyroid tibia tibial toe tongue trachea triceps
        tricuspid trunk ulna ulnar umbilical ureter urethra uterine uterus uvula vagina vaginal valve vascular
        vein veins ventricle ventricular vertebra vertebral vessel vessels vitreous wrist yolk
        """,
    "what is seen, done and given": """
        abscess and ascites at aug augmentation biopsy bx calcification collection compressed cont continuous
        diastole diastolic dvt edema effusion exhale fluid followup for foreign fracture free from gas
        haematoma hematoma hernia inhale inj injection jet lesion lump mass needle no normal obstruction of
        patency patent polyp pulsed reflux regurgitation rest sludge stenosis stent stone stones stress
        systole systolic tear the thrombus to tumor tumour valsalva with without wo yes
        """,
    "kinds of examination": """
        abd adult card cardio cardiology carotids complete crd er exam fast gyn gynae icu limited ltd neonatal
        obstetrics ophthalmic paediatric parts pediatric peds preset study tee trauma tte urology
        """,
    "makers": """
        aloka canon esaote fujifilm ge healthcare hitachi medison mindray philips samsung siemens terason
        toshiba
        """,
}
CLINICAL = frozenset(word for words in VOCABULARY.values() for word in words.split())

# What looks like somebody's, whatever the words around it; beside the patterns of prose.
CLOCK = re.compile(r"\d{1,2} *[:hH] *\d{2}(?!\d)")
PAIR = re.compile(r"\d *[-/:] *\d|\d\.\d+\.\d")  # two orders of a day and month, an image's number, an identifier
TRANSDUCER = re.compile(r"(?<![A-Za-z])(?:[A-Z]{1,2}|[a-z])\d{1,2}-\d{1,2}(?!\d)")  # its model and band: L12-5

DIGITS_ALONE = 3  # of one number without a unit: a depth, a gain, a series
DIGITS_IN_ALL = 8
DIGITS_WITH_UNIT = 5
LETTERS_BESIDE_DIGITS = 2  # M3, ST2
SINGLE_LETTERS = 3

_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)?")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_CONFUSED_DIGIT = re.compile(r"(?<=\d)[OoQDlI|](?=[\d./:-]|$)|(?<![A-Za-z])[OoQlI|](?=\d)")
_NOUGHT = re.compile(r"(?<=[A-Z])O(?=\.\d)")  # MIO.6: the nought of a small index that touches its name
_ALIKE = str.maketrans("oqdli|!sbz", "0001111582")  # after folding: what readers take for one another


def stays(text: str, score: float, words: Words) -> bool:
    """Whether this text, read with this probability, is surely nobody's identity."""
    return score >= READABLE and is_clinical(text) and not names_somebody(text, words)


def is_clinical(text: str) -> bool:
    """Whether it is made of nothing but clinical words, short numbers and measures."""
    text = _NOUGHT.sub("0", text)
    tokens = _TOKEN.findall(TRANSDUCER.sub(" ", text))
    letters = [each for each in tokens if each[0].isalpha()]
    numbers = [each for each in tokens if not each[0].isalpha()]
    singles = sum(len(each) == 1 for each in letters)
    digits = sum(char.isdigit() for char in text)
    known = all(map(_is_known, letters, [_touches_digit(text, each) for each in letters]))
    fit = all(_is_short(each, text) for each in numbers)
    return known and fit and singles <= SINGLE_LETTERS and digits <= DIGITS_IN_ALL


def is_bare(text: str) -> bool:
    """Whether it is only numbers and single letters, which may be a part of something longer."""
    return all(len(each) == 1 or not each[0].isalpha() for each in _TOKEN.findall(text))


def names_somebody(text: str, words: Words) -> bool:
    """Whether it looks like a date, a time or an identifier, or holds a word of this study, even a misread one."""
    plain = TRANSDUCER.sub(" ", text)
    for spelling in {plain, _CONFUSED_DIGIT.sub(_as_digit, plain)}:
        if CLOCK.search(spelling) or PAIR.search(spelling):
            return True
        if any(pattern.search(spelling) for pattern in PATTERNS.values()):
            return True
    names, marks = _searched(words)
    squeezed = _alike(text)
    return bool({_alike(each) for each in _TOKEN.findall(text)} & names) or any(mark in squeezed for mark in marks)


def _is_known(word: str, beside_digit: bool) -> bool:  # noqa: FBT001  mapped over
    if len(word) == 1 or (beside_digit and len(word) <= LETTERS_BESIDE_DIGITS):
        return True
    return word.lower() in CLINICAL or all(part.lower() in CLINICAL for part in _CAMEL.findall(word) or [""])


def _touches_digit(text: str, word: str) -> bool:
    at = text.find(word)
    return text[at - 1 : at].isdigit() or text[at + len(word) : at + len(word) + 1].isdigit()


def _is_short(number: str, text: str) -> bool:
    """A number of a scale or with a unit is; one that could be part of an identifier is not."""
    after = text[text.find(number) + len(number) :].lstrip()
    whole = len(re.split(r"[.,]", number)[0])
    unit = re.match(r"[^\W\d_]+|%", after)
    return whole <= (DIGITS_WITH_UNIT if unit and (unit[0] == "%" or unit[0].lower() in CLINICAL) else DIGITS_ALONE)


def _as_digit(match: re.Match[str]) -> str:
    return "0" if match[0] in "OoQD" else "1"


def _alike(text: str) -> str:
    return squeeze(text).translate(_ALIKE)


@functools.lru_cache(maxsize=16)
def _searched(words: Words) -> tuple[frozenset[str], frozenset[str]]:
    """Names, and identifiers, places and dates, in the spelling that misreading cannot change."""
    places = {_alike(phrase) for phrase in words.phrases}
    numbers = {mark.translate(_ALIKE) for mark in words.identifiers | words.dates}
    names = {fold(name).translate(_ALIKE) for name in words.names | words.common}
    return frozenset(names), frozenset((places | numbers) - {""})
