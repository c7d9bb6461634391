"""Spanish."""

from __future__ import annotations

from churn_assets.message.text.languages.pack import Language, grammar

_GRAMMAR = grammar(
    """
[spelled out]
del = de el
al = a el

[parts]
NICE = (azul|verde|rojo|claro|suave|dulce|fuerte|lindo|grande|tierno|alegre|bueno|sereno|noble|fiel|sabio|
  gran|buen|buena|valioso|valiosa|especial|estupendo|magnífico|querido|querida|pequeño|pequeña|cordial)
NOW = (ya|ahora|hoy|también|desde hoy|a partir de hoy|desde ahora)
OBJECT = (tu|su|la|el|tus)? (SERVICE|GENERIC|GENERIC mensual)|(la|tu|su) (factura|cuota) de (tu|su)? SERVICE
SPAN = (durante|por) (los|las)? (próximos|siguientes)? D|(durante|por) un periodo de D
ON = (en|de|sobre) OBJECT
EVERY = (each month|a month|monthly)
REST = ((,)? (SPAN|ON|EVERY|para ti|para usted))*
WORTH = (un|el|tu|su|este)? W (EVERY)? de discount|(un|el|tu|su)? discount (NICE|monthly)? de (un)? W
WE = (nosotros|nuestro equipo)
BEING = (seguir|estar|contar) con nosotros|ser (nuestro cliente|cliente nuestro|parte de la familia|un
  (NICE)* cliente)|(tu|su) (confianza|tiempo|apoyo|paciencia|preferencia)|confiar en nosotros|elegirnos|
  (usar|elegir) (nuestro|tu|su)? SERVICE|todo|(NICE)*
THANKS = (muchas|mil)? gracias|te damos las gracias|le damos las gracias|te agradecemos|le agradecemos
INTRO = (como|a modo de) (NICE)? (agradecimiento|gracias|detalle|muestra de agradecimiento)|para (darte|
  darle) las gracias|(tenemos)? (buenas|grandes) noticias (para ti|para usted)?|NOW|SPAN|por eso|EVERY
TAIL = INTRO|(solo)? (para ti|para usted)|de nuestra parte
REPLY = (responde|responda|contesta|conteste|envía|envíe|escribe|escriba|di|diga) (con)? (un)? sí|(responde|
  responda) a este mensaje
YEARS = (todos)? (the|these|many) years (con nosotros|juntos)?|(tu|su) (fidelidad|lealtad)

[offers]
SAVES = save (un)? W REST
FALLS = OBJECT (te|le)? (cuesta|costará) (un)? W less REST
OFFER = (WORTH|F (de|en) OBJECT|D free (de|en) OBJECT|D free|F|G (para|con) OBJECT|G) REST
RUNS = (dura|durará) D

[greeting]
(hola|buenos días|buenas tardes|estimado|estimada|querido|querida|apreciado|apreciada) (,)? (NAME|cliente)?
NAME

[social]
THANKS (de nuestra parte)? (por BEING)?
(nos alegra|es un placer) (tenerte|tenerle|contar contigo|contar con usted) (con nosotros|aquí)?
(valoramos|apreciamos) (mucho)? (tu|su) (confianza|tiempo|apoyo)
(tenemos)? (buenas|grandes) noticias (para ti|para usted)?
esperamos que (todo|tu SERVICE|su SERVICE) (vaya|funcione) bien
(nos gustaría|queremos) saber (cómo (funciona|va) (tu|su) SERVICE|qué (piensas|piensa|opinas|opina) de (tu|
  su) SERVICE)
(nos gustaría|queremos) hablar (contigo|con usted) (sobre (tu|su) SERVICE)?
cómo (funciona|va) (tu|su) SERVICE
que (tengas|tenga) un (NICE) día
estamos aquí para (ayudarte|ayudarle)

[loyalty]
THANKS por YEARS

[before an offer]
INTRO

[behind an offer]
TAIL

[offer]
(disfruta|disfrute|aprovecha|aproveche|recibe|reciba|obtén|obtenga|acepta|acepte) (de)? OFFER
(nos gustaría|queremos|nos alegra|nos complace|es un placer) (ofrecerte|ofrecerle|darte|darle|regalarte|
  regalarle) OFFER
(te|le) (ofrecemos|damos|regalamos|aplicamos|hemos reservado) OFFER
(tienes|tiene|recibes|recibe|obtienes|obtiene) OFFER
aquí (tienes|tiene) OFFER
OFFER
SAVES
FALLS
(el|tu|su|este) discount RUNS

[call]
REPLY
(llámanos|llámenos|escríbenos|escríbanos) (cuando quieras|cuando quiera|if (tienes|tiene) (alguna)?
  (pregunta|preguntas|duda|dudas))?
(dinos|díganos) (qué (piensas|piensa|opinas|opina)|cuándo (podemos|te podemos|le podemos) llamar|cuándo (te|
  le) viene bien hablar)

[accept]
(para aceptar (la oferta|el discount)? (,)?)? REPLY (para (aceptar|activarlo|aceptarlo) (la oferta|el
  discount)?)?
(if (te|le) (gusta|interesa) (,)?)? REPLY

[sign_off]
(un)? (cordial|cordiales|atento)? (saludo|saludos|atentamente|un abrazo|gracias) (cordial|cordiales)? (,)?
  (de)? (el|tu|su)? equipo (de (atención|soporte|atención a el cliente|clientes))?
(un)? (saludo|saludos) (cordial|cordiales)?|atentamente

[opt_out]
(responde|responda|envía|envíe|contesta|conteste) (con)? baja (if not (quieres|quiere|deseas|desea)
  (recibir)? more mensajes|para (dejar de recibir mensajes|(darte|darse) de baja|not recibir more mensajes))
(para (darte|darse) de baja|if not (quieres|quiere) (recibir)? more mensajes) (,)? (responde|responda|envía|
  envíe) (con)? baja

[faults]
opt_out = baja
records = nuestros datos|nuestros registros|sabemos que
pressure = última|último|urgente|ahora o nunca|date prisa|perderás|pierdas|pierde|antes de que|oportunidad
condition = if|cuando|siempre que|contrato|condiciones|a cambio|permanencia|permaneces|quedas
other_time = después|dentro|hasta|antes|luego|empieza|termina|acaba|a partir
other_price = paga|pague|pagas|precio|cuesta|subirá|more
other_offer = free|regalo|además|discount|nunca|siempre
"""
)

_ONES = (
    "cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez", "once", "doce",
    "trece",
    "catorce", "quince", "dieciséis", "diecisiete", "dieciocho", "diecinueve", "veinte", "veintiuno", "veintidós",
    "veintitrés", "veinticuatro", "veinticinco", "veintiséis", "veintisiete", "veintiocho", "veintinueve",
)  # fmt: skip
_TENS = ("treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa")

SPANISH = Language(
    grammar=_GRAMMAR,
    plain={
        **{word: str(number) for number, word in enumerate(_ONES)},
        **{word: str(10 * tens) for tens, word in enumerate(_TENS, 3)},
        **{
            f"{word} y {one}": str(10 * tens + ones)
            for tens, word in enumerate(_TENS, 3)
            for ones, one in enumerate(_ONES[1:10], 1)
        },
        "cien": "100", "ciento": "100", "mil": "1000", "por ciento": "percent", "porciento": "percent",
        "la mitad": "half", "un tercio": "1 third", "un cuarto": "1 quarter", "el doble": "double",
        "una docena": "1 dozen",
        "día": "day", "días": "days", "semana": "week", "semanas": "weeks", "mes": "month", "meses": "months",
        "año": "year", "años": "years", "un mes": "1 month", "un año": "1 year", "medio año": "6 months",
        "una semana": "1 week", "cada mes": "each month", "todos los meses": "each month", "a el mes": "a month",
        "al mes": "a month", "por mes": "a month", "mensual": "monthly", "mensuales": "monthly",
        "próximo mes": "next month",
        "ahorra": "save", "ahorre": "save", "ahorras": "save", "ahorrarás": "save", "los años": "the years",
        "estos años": "these years", "tantos años": "many years", "gratis": "free", "gratuito": "free",
        "gratuitos": "free", "gratuita": "free", "descuento": "discount",
        "rebaja": "discount", "menos": "less", "más": "more", "no": "not", "nunca": "never", "sin": "without",
        "si": "if",
        "hasta": "until", "quizás": "maybe", "tal vez": "maybe", "casi": "almost", "oferta": "offer",
        "regalo": "gift",
        "dólar": "dollar", "dólares": "dollars", "euro": "euro", "libras": "pounds", "céntimos": "cents",
    },
    offers={
        "percent_off": "un {worth} de descuento en tu {service} durante {duration}",
        "amount_off": "{worth} de descuento al mes en tu {service} durante {duration}",
        "free_months": "{duration} gratis de tu {service}",
        "gift": "{worth}",
    },
    month="1 mes",
    months="{months} meses",
    defaults={
        "template": "Hola {name}, gracias por ser nuestro cliente. Nos gustaría ofrecerte {offer}. Responde SÍ "
        "para aceptar. "
        "Un saludo, tu equipo de soporte. Responde BAJA si no quieres más mensajes.",
        "contact_template": "Hola {name}, gracias por ser nuestro cliente. Nos gustaría saber cómo funciona tu "
        "{service}. "
        "Dinos cuándo te podemos llamar. Un saludo, tu equipo de soporte. Responde BAJA si no quieres más mensajes.",
        "generic_services": ("factura", "cuota", "servicio", "tarifa"),
        "opt_out_phrases": ("responde baja", "responda baja", "envía baja", "envíe baja", "darte de baja",
        "con baja"),
        "banned_phrases": (
            "garantía", "garantizado", "garantizamos", "prometemos", "promesa", "para siempre", "nunca", "ilimitado",
            "sin riesgo", "contraseña", "tarjeta de crédito", "cuenta bancaria", "reembolso", "vale", "mejor precio",
        ),
        "pressure_phrases": (
            "última oportunidad", "actúa ya", "urgente", "no esperes", "date prisa", "inmediatamente",
            "nuestros registros",
        ),
        "gift_phrases": ("regalo", "regalos", "obsequio", "router", "tableta", "auriculares", "móvil nuevo"),
        "first_names": ("María", "José", "Carmen", "Juan", "Lucía", "Pablo", "Sofía", "Carlos", "Elena", "Javier"),
        "extra_characters": "’‘“”–—…áéíóúüñÁÉÍÓÚÜÑ¿¡€",
    },
)  # fmt: skip
