"""Words that everybody uses: as names they are known by how they are written, not by what they are.

A word that goes wherever it stands says by its gap what it was: "left [removed], fifth metacarpal" is Mrs Hand.
"""

from __future__ import annotations

import functools
from importlib import resources

from radrelay_anonymize.domain.folding import fold


def _folded(text: str) -> frozenset[str]:
    return frozenset(map(fold, text.split()))


# Beside the words of DICOM's own concepts and attributes (`data/clinical_words.txt`).
EVERYDAY: dict[str, str] = {
    "function words": """
        am an as at be by do elsewhere he her his if in is it may me must my no on or so to up us we will
        would
        """,
    "calendar": """
        april august day easter friday january june march may monday october september summer sunday winter
        """,
    "colours": """
        amber black blue bruno brun brown gray green grey orange red rose ruby scarlet silver violet white
        """,
    "size and place": """
        away close deep early east far field grand great hard high hollow large late little long low main
        massive near north petit piccolo pointer rich sharp short side small south steep strong swift thick
        west wide young
        """,
    "what DICOM and the engine write": """
        alone contains deny feet imaginary inferred magnitude monochrome obs radrelay resampled separate unmodified
        unpaired unverified yes
        """,
    "things": """
        art ball banks bar barrel beach bean bell berry bird bond bow box branch bridge bridges brook burn bush
        button case chamber chase choice cook copper cotton country cross crown dale dock drum fish flint forest
        fountain fox frost garden gates glass golden gore hail hall hill hills hook horn house ivory key kidney knot
        lady lake lamb land lane leaf line lock marsh mill moss mount nail page park parks peak pepper pike pitt pole
        pond pool pope post rain ray reed rice ring ridge rivers rock root sand seal shell shields shore snow
        spear spring stack stem stern stone stones star stock street sugar tear temple thorn tower tree trunk
        vale valley vessel wall walls ward water waters weaver well wells wire wolf wood woods
        """,
    "doings": """
        bolt carry cast chew cope cover cut dash drew drive drop fall feel fill find frank given grant grow
        hold hope hunt joy just lay lead leak light live loss love lump mark moody mean miss nick pat pace
        pick pierce price prior prune pull push quick ramp rash read ready rest rise rush sharp shift slack
        still stout sue tear tilt track true twist walk wake wax weak wise worth
        """,
    "German": """
        alt bauch blau braun bruch dick dunkel frei fuß groß gross gut hals hart herz jung kalt klein knie
        kopf krank kurz lang lange lunge mai neu rot rund scharf schmal schwarz stark still tief voll warm
        weich weiß weit
        """,
    "Romance languages": """
        abril alto bajo basso bello bianco blanc blanco brazo brune cabeza calvo claro corto costa delgado dos
        grande gros jambe leve luna mano marron media mayo mayor menor moreno noir nuevo petite rojo rossa
        rosso rouge rubio testa torre vieira vena verde
        """,
}

# People after whom findings are named. They are somebody's unless one of `NAMED_AFTER` follows.
EPONYMS = _folded("""
    achilles addison baker bankart barlow barrett barton bennett bosniak bosworth boxer bright burkitt calvé
    chance charcot chiari chopart cobb codman colles couinaud crohn cushing dandy down dupuytren ewing fallot
    fleischner freiberg galeazzi garden gleason gleeson gerdy graves graf hangman hill hirschsprung hodgkin
    horner hounsfield jefferson jones kaposi kerley killian klatskin köhler krukenberg langerhans legg lisfranc
    looser luschka maffucci marfan maisonneuve meckel ménière meniere merkel monro monteggia morgagni morton
    osgood paget pancoast parkinson perthes pott potts riedel rolando sachs salter schatzki scheuermann
    schlatter schmorl segond sjögren smith spigelian stafne stener sturge still takayasu turner virchow warthin
    weber wegener whipple wilms wilson winslow zenker
""")
NAMED_AFTER = _folded("""
    abscess angle area cell cells cleft contracture criteria cyst cysts defect disease diverticulum duct
    exostosis foramen fracture fractures grade hernia index joint lesion ligament line lines lobe lymphoma
    method neuroma node nodes nodule nodules palsy phenomenon pouch procedure ring sarcoma score sign space
    syndrome tetralogy triad triangle tubercle tumor tumour units zyste knoten krankheit syndrom fraktur linien
    winkel zeichen
""")
NAMING = _folded("kyste maladie morbus enfermedad malattia noeud síndrome sindrome signe tetralogy")

# What half of all clinics are called: no word of it names one of them.
GENERIC = _folded("""
    affairs akademisches allee ambulance ambulatory and associates avenue azienda boulevard cabinet campus care center
    centre centro children children's chu city clinic clinica clinical clinique clínica clínico college community county
    department diagnostic diagnostics district drive eastern evangelisches foundation für gemeinschaftspraxis general
    good group health healthcare highway hôpital hopital hospice hospital hospitalier hospitals imaging infirmary
    institut institute instituto kantonsspital katholisches klinik kliniken klinikum krankenhaus kreiskrankenhaus
    limited main medical medicine medizin medizinische medizinisches memorial mobile mount national nord north northern
    ospedale ospedaliera our outpatients partners platz practice praxis premier private psychiatric public radiologia
    radiologie radiologische radiologisches radiology regional road route rural saint san sankt santa santo school
    service services south southern spital square state straße strasse street suite system szpital teaching trust
    universitair universitario universitaire universitario university universität universitätsklinikum uniklinik unit
    urgent versorgungszentrum veterans von west western women women's zentrum ziekenhuis
""")


@functools.cache
def clinical() -> frozenset[str]:
    """Folded words of DICOM's concepts."""
    text = resources.files("radrelay_anonymize").joinpath("data/clinical_words.txt").read_text("utf-8")
    return _folded(text.partition("\n")[2])


@functools.cache
def common() -> frozenset[str]:
    """Folded words that prose holds whoever the patient is."""
    return clinical() | EPONYMS | GENERIC | _folded(" ".join(EVERYDAY.values()))
